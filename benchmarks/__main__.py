from benchmarks import (
    bound,
    certified_recall,
    conditioning,
    default_path,
    dense,
    ensemble,
    few_steps,
    first_use,
    gradients,
    growth,
    table1,
    testbench,
)

for benchmark in (
    default_path,
    first_use,
    few_steps,
    table1,
    ensemble,
    dense,
    certified_recall,
    conditioning,
    gradients,
    bound,
    growth,
    testbench,
):
    benchmark.main()
