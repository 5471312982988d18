mixrec_test(shard_map_test ROOMS ps_codec)
mixrec_test(ps_table_test ROOMS ps_tables TORCH)
mixrec_test(vocabulary_test ROOMS ps_tables TORCH)
mixrec_test(snapshot_test ROOMS ps_tables TORCH)
