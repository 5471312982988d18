mixrec_test(ps_simulation_test ROOMS ps net
  SOURCES simulation/ps_world.cc simulation/ps_worker.cc simulation/ps_job.cc simulation/ps_options.cc
          simulation/ps_message_text.cc TORCH LABELS simulation)
mixrec_test(authority_test ROOMS ps net TORCH LABELS ps)
mixrec_test(ps_client_test ROOMS ps net TORCH LABELS ps)
mixrec_test(ps_session_test ROOMS ps net TORCH LABELS ps)
