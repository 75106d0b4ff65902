from benchmarks import bound, certified_recall, dense, ensemble, few_steps, growth, table1

for benchmark in (few_steps, table1, ensemble, dense, certified_recall, bound, growth):
    benchmark.main()
