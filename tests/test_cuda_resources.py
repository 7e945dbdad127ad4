"""The checks of compiled CUDA kernels: what they read from ptxas and machine code, and what they make of it."""

from collections import Counter

import cuda_floors
import cuda_report
import cuda_sass
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
                "void g::reduce_kernel<g::Engine<float, __half>, g::Nll<g::Engine<float, __half>, true>, 1, g::Of>"
                "(g::Of, g::Plan)",
                "Nll<float, f16, plain> reduce",
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


# A loop that reads 16 bytes; a choice within it, each way with its own store; a slow path; an inner loop; a routine.
LISTING = """\
	.section	.text._Z1fv,"ax",@progbits
.text._Z1fv:
        /*0000*/                   LDC R1, c[0x0][0x28] ;
        /*0010*/               @P0 EXIT ;
.L_x_0:
        /*0020*/                   LDG.E.128.CONSTANT R4, desc[UR4][R2.64] ;
        /*0030*/                   IMAD.WIDE.U32 R6, R4, -0x2daee0ad, RZ ;
        /*0040*/                   MUFU.EX2 R9, R4 ;
        /*0050*/              @!P1 BRA `(.L_x_1) ;
        /*0060*/                   MOV R20, 0x90 ;
        /*0070*/                   CALL.REL.NOINC `($slow) ;
.L_x_1:
        /*0080*/               @P2 BRA `(.L_x_3) ;
.L_x_2:
        /*0090*/                   FFMA R9, R9, R4, R5 ;
        /*00a0*/               @P3 BRA `(.L_x_2) ;
        /*00b0*/                   STG.E.128 desc[UR4][R2.64], R4 ;
        /*00c0*/                   BRA `(.L_x_4) ;
.L_x_3:
        /*00d0*/                   UIADD3 UR4, UR4, 0x1, URZ ;
        /*00e0*/                   STG.E desc[UR4][R2.64], R4 ;
.L_x_4:
        /*00f0*/                   LOP3.LUT R8, R8, R9, RZ, 0x3c, !PT ;
        /*0100*/               @P4 BRA `(.L_x_0) ;
        /*0110*/                   EXIT ;
        .type           $slow,@function
$slow:
        /*0120*/                   DADD R4, R4, R6 ;
        /*0130*/                   RET.REL.NODEC R20 `(_Z1fv) ;
.L_x_9:
        /*0140*/                   BRA `(.L_x_9);
        /*0150*/                   NOP ;
"""


class TestMachineCode:
    @pytest.fixture
    def kernel(self):
        (kernel,) = cuda_sass.parse(LISTING)
        return kernel

    @pytest.fixture
    def outer(self, kernel):
        return max(cuda_sass.loops(kernel), key=lambda loop: len(loop.body))

    def test_a_kernel_ends_where_the_routines_begin_that_it_calls(self, kernel):
        code = list(kernel.instructions)
        assert kernel.name == "_Z1fv" and len(code) == 18
        assert code[0].opcode == "LDC" and code[-1].opcode == "EXIT"
        assert code[1].predicate == "@P0"

    def test_instructions_are_counted_by_unit(self, kernel):
        assert cuda_sass.count_units(kernel.instructions) == Counter(
            memory=4, control=8, ALU=2, IMAD=1, XU=1, FMA=1, uniform=1
        )

    def test_accesses_are_counted_by_width(self, kernel):
        moved = [(each.name, each.bytes) for each in kernel.instructions if each.bytes]
        assert moved == [("LDG", 16), ("STG", 16), ("STG", 4)]

    @pytest.mark.parametrize(
        ("opcode", "size"),
        [("LDG.E.U8.CONSTANT", 1), ("LDG.E.U16", 2), ("LDG.E", 4), ("STG.E.64.STRONG.GPU", 8), ("STG.E.EF.128", 16)],
    )
    def test_the_width_is_a_word_of_the_opcode(self, opcode, size):
        assert cuda_sass.Instruction(opcode).bytes == size

    def test_loops_are_found_the_inner_one_within_the_outer(self, kernel):
        inner, outer = sorted(cuda_sass.loops(kernel), key=lambda loop: len(loop.body))
        assert len(inner.body) == 1 and inner.body < outer.body

    def test_the_cheapest_way_leaves_the_slow_path_out(self, kernel, outer):
        path = cuda_sass.cheapest(kernel, outer, {"store": 4}, cuda_floors.weigh, exact=["store"])
        assert [each.name for each in path] == ["LDG", "IMAD", "MUFU", "BRA", "BRA", "UIADD3", "STG", "LOP3", "BRA"]

    def test_the_cheapest_way_does_what_is_needed(self, kernel, outer):
        need = {"wide load": 16, "store": 16, "philox": 1}
        path = cuda_sass.cheapest(kernel, outer, need, cuda_floors.weigh)
        assert [each.opcode for each in path if each.bytes] == ["LDG.E.128.CONSTANT", "STG.E.128"]
        assert sum(each.name == "FFMA" for each in path) == 1  # an inner loop is passed once

    def test_there_may_be_no_way(self, kernel, outer):
        assert cuda_sass.cheapest(kernel, outer, {"philox": 2}, cuda_floors.weigh) == []
        assert cuda_sass.cheapest(kernel, outer, {"store": 2}, cuda_floors.weigh, exact=["store"]) == []

    def test_a_jump_back_out_of_a_while_loop_goes_on_behind_it(self):
        (kernel,) = cuda_sass.parse(
            """\
	.section	.text._Z1gv,"ax",@progbits
.L_x_0:
        /*0000*/               @P0 BRA `(.L_x_1) ;
        /*0010*/                   MUFU.EX2 R1, R1 ;
        /*0020*/                   BRA `(.L_x_0) ;
.L_x_1:
        /*0030*/                   EXIT ;
"""
        )
        path = cuda_sass.cheapest(kernel, None, {"special": 1}, cuda_floors.weigh)
        assert [each.name for each in path] == ["BRA", "MUFU", "BRA", "EXIT"]


class TestFloors:
    def test_memory_bounds_what_computes_little(self):
        t = cuda_floors.times(12, {"FMA": 10})
        assert t.memory == pytest.approx(12 / 4.3)
        assert t.bound == "memory" and t.percent_of_copy == 100

    def test_issue_bounds_what_computes_much(self):
        t = cuda_floors.times(2, {"FMA": 40, "ALU": 40, "uniform": 20})
        assert t.issue == pytest.approx(100 / 128 / (132 * 1.98) * 1000)
        assert t.bound == "issue" and t.percent_of_copy == pytest.approx(100 * t.memory / t.issue)

    def test_special_functions_have_few_lanes(self):
        t = cuda_floors.times(0, {"XU": 4, "FMA": 4})
        assert (t.bound, t.unit) == ("XU", pytest.approx(4 / 16 / (132 * 1.98) * 1000))

    def test_integer_products_take_turns_with_the_others(self):
        assert cuda_floors.times(0, {"IMAD": 10}).unit_name == "IMAD"
        mixed = cuda_floors.times(0, {"IMAD": 10, "FMA": 30})
        assert (mixed.unit_name, mixed.unit) == ("FMA", pytest.approx(40 / 128 / (132 * 1.98) * 1000))

    def test_a_kernels_form_is_read_from_its_name(self):
        form = cuda_floors.Form.of("NllForward<float, bf16, plain> reduce")
        assert (form.storage, form.operation) == ("bf16", "gaussian_nll, forward")
        assert cuda_floors.Form.of("NllForward<float, any, general> reduce") is None
        assert cuda_floors.Form.of("split_kernel") is None

    @pytest.mark.parametrize(
        ("name", "width"),
        [
            ("Nll<float, bf16, plain> map", 8),
            ("Nll<float, bf16 by 4, plain> map", 4),
            ("Nll<float, any, general> map", 0),
        ],
    )
    def test_a_name_says_how_wide_a_group_is(self, name: str, width: int):
        form = cuda_floors.Form.of(name)
        assert (form.width if form else 0) == width

    def test_a_tile_of_no_known_operation_has_no_route(self):
        (kernel,) = cuda_sass.parse(LISTING)
        assert cuda_floors.route(kernel, cuda_floors.Form("Other", "float", "float", 4, "map")) is None


class TestPage:
    TEXT = "before\n<!-- floors:start -->\nnvcc 13.0.88. old\n<!-- floors:end -->\nafter\n"

    def test_only_the_block_is_replaced(self):
        new = cuda_report.replace_block(self.TEXT, "floors", "new\n")
        assert new == "before\n<!-- floors:start -->\nnew\n<!-- floors:end -->\nafter\n"
        assert cuda_report.read_block(new, "floors") == "new"

    @pytest.mark.parametrize("text", ["", TEXT * 2, TEXT.replace("start", "end")], ids=["none", "two", "no start"])
    def test_the_markers_must_be_there_once(self, text):
        with pytest.raises(ValueError, match="expected one pair of <!-- floors:start -->"):
            cuda_report.read_block(text, "floors")

    def test_a_page_that_differs_fails_unless_another_nvcc_made_it(self, tmp_path, capsys):
        page = tmp_path / "performance.md"
        page.write_text(self.TEXT)
        problem = cuda_report.settle(page, "floors", "nvcc 13.0.88. new", "13.0.88", write=False)
        assert "differs from the kernels" in problem and "+ nvcc 13.0.88. new" in problem
        assert cuda_report.settle(page, "floors", "nvcc 13.1.20. new", "13.1.20", write=False) is None
        assert "not compared, nvcc 13.0.88 made it and 13.1.20 runs here" in capsys.readouterr().out
        assert page.read_text() == self.TEXT

    def test_the_page_is_written_on_request_and_then_agrees(self, tmp_path, capsys):
        page = tmp_path / "performance.md"
        page.write_text(self.TEXT)
        for said in ("written", "as committed"):
            assert cuda_report.settle(page, "floors", "nvcc 13.0.88. new", "13.0.88", write=said == "written") is None
            assert said in capsys.readouterr().out
        assert "nvcc 13.0.88. new" in page.read_text()
