from benchmarks import bound, certified_recall, dense, few_steps, growth, table1

for benchmark in (few_steps, table1, dense, certified_recall, bound, growth):
    benchmark.main()
