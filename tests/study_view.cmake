# What a person sees of a study.
mixrec_test(study_report_test ROOMS bo_driver SOURCES study_sample.cc)
mixrec_test(live_page_test ROOMS live_page SOURCES study_sample.cc)
mixrec_test(page_browser_test ROOMS live_page SOURCES study_sample.cc browser.cc LABELS browser)
target_compile_definitions(page_browser_test PRIVATE
  MIXREC_MEASURE_PAGE="${CMAKE_CURRENT_SOURCE_DIR}/measure_page.html")
