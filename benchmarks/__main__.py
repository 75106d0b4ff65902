from benchmarks import few_steps, table1

for benchmark in (few_steps, table1):
    benchmark.main()
