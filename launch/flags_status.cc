// Flags of what shows a study: `mixrec status` and the live page.
#include <gflags/gflags.h>

DEFINE_bool(replay, false,
            "Ask the search for every suggestion of the journal again; fails where one is another");
DEFINE_bool(json, false, "Print JSON for programs instead of text for people");
DEFINE_string(http, "",
              "HOST:PORT where a page shows the study while it goes on, such as 127.0.0.1:8080; "
              "port 0 takes a free one; empty: no page");
