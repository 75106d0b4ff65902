from benchmarks import bound, certified_recall, conditioning, default_path, dense, ensemble, few_steps, growth, table1

for benchmark in (default_path, few_steps, table1, ensemble, dense, certified_recall, conditioning, bound, growth):
    benchmark.main()
