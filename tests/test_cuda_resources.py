"""The checks of compiled CUDA kernels: what they read from ptxas, and what they make of it."""

import cuda_report
import pytest
from cuda_occupancy import occupancy
from cuda_resources import faults, launch_bounds, parse_ptxas, readable_names, shorten, table

CLEAN = """\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_Z4headIfEvPf' for 'sm_80'
ptxas info    : Function properties for _Z4headIfEvPf
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 54 registers, used 1 barriers, 104 bytes smem, 800 bytes cmem[0]
ptxas info    : Compile time = 146.707 ms
ptxas info    : Compiling entry function '_Z4headIfEvPf' for 'sm_120'
ptxas info    : Function properties for _Z4headIfEvPf
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 78 registers, used 1 barriers
ptxas info    : Compile time = 100.000 ms
"""
SPILLS = CLEAN.replace("0 bytes spill stores, 0 bytes spill loads", "8 bytes spill stores, 16 bytes spill loads", 1)
FRAME = CLEAN.replace("0 bytes stack frame", "32 bytes stack frame", 1)
ROUTINE = """\
ptxas info    : Compiling entry function '_Z4headIfEvPf' for 'sm_90'
ptxas info    : Function properties for _Z4headIfEvPf
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Function properties for _Z4slowf
    16 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 40 registers
"""


class TestPtxas:
    def test_every_architecture_of_a_kernel_is_read(self):
        first, second = parse_ptxas(CLEAN)
        assert (first.function, first.arch, first.registers, first.shared) == ("_Z4headIfEvPf", "sm_80", 54, 104)
        assert (second.arch, second.registers, second.shared, second.compile_ms) == ("sm_120", 78, 0, 100.0)
        assert first.kernel and second.kernel and first.compile_ms == 146.707

    def test_a_clean_kernel_passes(self):
        uses = parse_ptxas(CLEAN)
        assert faults(uses, readable_names(use.function for use in uses)) == []

    @pytest.mark.parametrize(
        ("output", "fault"),
        [
            (SPILLS, "head<float> on sm_80 spills registers (8 bytes stored, 16 loaded)"),
            (FRAME, "head<float> on sm_80 keeps 32 bytes in local memory"),
        ],
        ids=["spill", "frame"],
    )
    def test_a_spill_or_a_frame_fails_by_name_and_architecture(self, output, fault):
        uses = parse_ptxas(output)
        assert faults(uses, readable_names(use.function for use in uses)) == [fault]

    def test_a_routine_that_was_not_inlined_is_judged_but_is_no_kernel(self):
        head, slow = parse_ptxas(ROUTINE)
        assert (head.kernel, head.registers) == (True, 40)
        assert not slow.kernel and slow.arch == "sm_90" and "16 bytes in local memory" in slow.fault

    def test_nothing_is_read_from_nothing(self):
        assert parse_ptxas("ptxas info    : 0 bytes gmem\n") == []

    def test_launch_bounds_are_those_of_the_ptx(self):
        ptx = """
.visible .entry _Z1av(
	.param .u64 .ptr .align 1 _Z1av_param_0
)
.maxntid 256, 1, 1
.minnctapersm 2
{ }
.visible .entry _Z1bv()
{ }
.visible .entry _Z1cv()
.maxntid 32, 4
{ }
"""
        assert launch_bounds(ptx) == {"_Z1av": 256, "_Z1cv": 128}

    def test_the_table_has_a_row_a_kernel_and_a_column_an_architecture(self):
        uses = parse_ptxas(CLEAN)
        header, _, row = table(uses, {"_Z4headIfEvPf": 128}, readable_names(["_Z4headIfEvPf"]))
        assert header == "| kernel | threads | shared | sm_80 | sm_90 | sm_100 | sm_120 |"
        assert row == "| `head<float>` | 128 | 104 | 54, 56 % | – | – | 78, 50 % |"


class TestNames:
    @pytest.mark.parametrize(
        ("demangled", "name"),
        [
            ("void g::cuda::(anonymous namespace)::f<float>(g::Arguments, g::Total)", "f<float>"),
            ("void g::f<float, __nv_bfloat16, g::Plain>(g::X)", "f<float, bf16, Plain>"),
            ("void g::f<(g::ScaleParam)2, __half, 4ul>(int (*)(int))", "f<ScaleParam 2, f16, 4>"),
            ("g::fill(g::Key, float4*)", "fill"),
            (
                "void g::reduce_kernel<g::Engine<float, __half>, g::Nll<g::Engine<float, __half> >, 1, g::Of>"
                "(g::Of, g::Plan)",
                "Nll<float, f16> reduce",
            ),
            (
                "void g::map_kernel<g::Engine<double, g::Any>, g::Fill<g::Engine<double, g::Any> >, g::Arguments>(int)",
                "Fill<double, any> map",
            ),
        ],
    )
    def test_what_tells_kernels_apart_is_kept(self, demangled, name):
        assert shorten(demangled) == name

    def test_kernels_that_would_share_a_name_keep_their_namespaces(self):
        names = readable_names(["_ZN1a1fEv", "_ZN1b1fEv", "_ZN1b1gEv"])
        assert names == {"_ZN1a1fEv": "a::f()", "_ZN1b1fEv": "b::f()", "_ZN1b1gEv": "g"}


class TestOccupancy:
    """Against the calculator of CUDA 13.0 (cuda_occupancy.h), called with these numbers."""

    @pytest.mark.parametrize(
        ("arch", "threads", "registers", "shared", "blocks"),
        [
            ("sm_80", 256, 32, 0, 8),
            ("sm_80", 256, 33, 0, 6),
            ("sm_80", 256, 54, 104, 4),
            ("sm_80", 1024, 255, 0, 0),
            ("sm_80", 256, 32, 33000, 4),
            ("sm_90", 256, 64, 0, 4),
            ("sm_90", 256, 72, 0, 3),
            ("sm_90", 32, 16, 0, 32),
            ("sm_90", 384, 40, 0, 4),
            ("sm_90", 128, 24, 33000, 6),
            ("sm_100", 256, 128, 0, 2),
            ("sm_100", 512, 168, 0, 0),
            ("sm_120", 256, 40, 0, 6),
            ("sm_120", 256, 41, 0, 5),
            ("sm_120", 32, 16, 0, 24),
            ("sm_120", 1024, 32, 0, 1),
            ("sm_120", 256, 32, 33000, 3),
        ],
    )
    def test_blocks_are_those_of_the_toolkits_calculator(self, arch, threads, registers, shared, blocks):
        assert occupancy(arch, threads, registers, shared).blocks == blocks

    def test_percent_is_of_the_warps_an_architecture_can_hold(self):
        full, narrower = occupancy("sm_90", 256, 32, 0), occupancy("sm_120", 256, 32, 0)
        assert (full.warps, full.percent) == (64, 100)
        assert (narrower.warps, narrower.percent) == (48, 100)

    def test_the_limit_names_what_runs_out(self):
        assert occupancy("sm_90", 256, 96, 0).limit == "registers"
        assert occupancy("sm_90", 256, 32, 0).limit == "warps"
        assert occupancy("sm_90", 32, 16, 0).limit == "blocks"
        assert occupancy("sm_90", 128, 24, 33000).limit == "shared memory"


class TestPage:
    TEXT = "before\n<!-- resources:start -->\nnvcc 13.0.88. old\n<!-- resources:end -->\nafter\n"

    def test_only_the_block_is_replaced(self):
        new = cuda_report.replace_block(self.TEXT, "resources", "new\n")
        assert new == "before\n<!-- resources:start -->\nnew\n<!-- resources:end -->\nafter\n"
        assert cuda_report.read_block(new, "resources") == "new"

    @pytest.mark.parametrize("text", ["", TEXT * 2, TEXT.replace("start", "end")], ids=["none", "two", "no start"])
    def test_the_markers_must_be_there_once(self, text):
        with pytest.raises(ValueError, match="expected one pair of <!-- resources:start -->"):
            cuda_report.read_block(text, "resources")

    def test_a_page_that_differs_fails_unless_another_nvcc_made_it(self, tmp_path, capsys):
        page = tmp_path / "cuda.md"
        page.write_text(self.TEXT)
        problem = cuda_report.settle(page, "resources", "nvcc 13.0.88. new", "13.0.88", write=False)
        assert "differs from the kernels" in problem and "+ nvcc 13.0.88. new" in problem
        assert cuda_report.settle(page, "resources", "nvcc 13.1.20. new", "13.1.20", write=False) is None
        assert "not compared, nvcc 13.0.88 made it and 13.1.20 runs here" in capsys.readouterr().out
        assert page.read_text() == self.TEXT

    def test_the_page_is_written_on_request_and_then_agrees(self, tmp_path, capsys):
        page = tmp_path / "cuda.md"
        page.write_text(self.TEXT)
        for said in ("written", "as committed"):
            problem = cuda_report.settle(page, "resources", "nvcc 13.0.88. new", "13.0.88", write=said == "written")
            assert problem is None
            assert said in capsys.readouterr().out
        assert "nvcc 13.0.88. new" in page.read_text()
