"""Side-by-side timings of genkern and what people use instead; benchmarks/README.md says how to run and read them."""
