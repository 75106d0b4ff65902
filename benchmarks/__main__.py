from benchmarks import ensemble, few_steps, table1

for benchmark in (few_steps, table1, ensemble):
    benchmark.main()
