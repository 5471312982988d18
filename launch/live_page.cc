#include "launch/live_page.h"

#include <httplib.h>

#include <chrono>
#include <mutex>
#include <thread>
#include <vector>

#include "bo_driver/report.h"
#include "common/file.h"
#include "common/log.h"
#include "launch/flag_line.h"

namespace mixrec::launch {
namespace {

using bo_driver::ReportSection;
using scheduler::StudyView;

constexpr int kPeriodSeconds = 5;
constexpr size_t kThreads = 4;
// Nothing but what the page itself holds, and its own server.
constexpr char kPolicy[] =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

struct Address {
  std::string host, shown_host;
  int port = 0;
};

absl::StatusOr<Address> ParseAddress(const std::string& text) {
  const size_t colon = text.rfind(':');
  const std::string port = colon == std::string::npos ? "" : text.substr(colon + 1);
  const bool digits = !port.empty() && port.size() <= 5 &&
                      port.find_first_not_of("0123456789") == std::string::npos;
  Address address;
  if (digits) {
    address.port = std::stoi(port);
    address.shown_host = text.substr(0, colon);
    address.host = address.shown_host;
    if (address.host.size() > 2 && address.host.front() == '[' && address.host.back() == ']') {
      address.host = address.host.substr(1, address.host.size() - 2);
    }
  }
  if (!digits || address.host.empty() || address.port > 65535) {
    return UsageError("--http=", text, ": expected HOST:PORT, such as 127.0.0.1:8080");
  }
  return address;
}

bool IsLoopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.rfind("127.", 0) == 0;
}

double Now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// The parts of the page for a snapshot; the surrogate is fitted only when a trial has ended.
class Rendering {
 public:
  explicit Rendering(StudySource source) : source_(std::move(source)) {}

  // What a request sees. The sections are of one snapshot.
  struct Page {
    std::shared_ptr<const StudyView> view;
    std::vector<ReportSection> sections;
  };

  absl::StatusOr<Page> Get(nlohmann::json* json) {
    const std::lock_guard lock(mutex_);
    MIXREC_ASSIGN_OR_RETURN(std::shared_ptr<const StudyView> view, source_());
    const int ended = view->finished + view->failed;
    if (ended != modelled_) {
      model_ = bo_driver::ModelOf(view->study);
      modelled_ = ended;
    }
    const bool running = view->status.phase == scheduler::StudyPhase::kRunning;
    Page page{view, bo_driver::ReportSections(*view, model_, running ? Now() : 0)};
    if (json == nullptr) return page;
    *json = bo_driver::StudyJson(*view, &model_);
    (*json)["title"] = bo_driver::PageTitle(*view);
    for (const ReportSection& section : page.sections) {
      (*json)["sections"][section.id] = ContentHash(section.html);
    }
    return page;
  }

 private:
  std::mutex mutex_;
  StudySource source_;
  bo_driver::StudyModel model_;
  int modelled_ = -1;  // trials that had ended when the model was fitted
};

void Answer(const absl::Status& failure, httplib::Response* response) {
  response->status = 503;
  response->set_content(StrCat("The study cannot be read: ", StatusText(failure), "\n"),
                        "text/plain; charset=utf-8");
}

void AddPages(Rendering* rendering, httplib::Server* server) {
  server->Get("/", [rendering](const httplib::Request&, httplib::Response& response) {
    const auto page = rendering->Get(nullptr);
    if (!page.ok()) return Answer(page.status(), &response);
    response.set_content(bo_driver::RenderPage(*page->view, page->sections, kPeriodSeconds),
                         "text/html; charset=utf-8");
  });
  server->Get("/api/study", [rendering](const httplib::Request&, httplib::Response& response) {
    nlohmann::json json;
    const auto page = rendering->Get(&json);
    if (!page.ok()) return Answer(page.status(), &response);
    response.set_content(json.dump(), "application/json");
  });
  server->Get(R"(/section/([a-z]+))",
              [rendering](const httplib::Request& request, httplib::Response& response) {
                const auto page = rendering->Get(nullptr);
                if (!page.ok()) return Answer(page.status(), &response);
                for (const ReportSection& section : page->sections) {
                  if (section.id != request.matches[1]) continue;
                  return response.set_content(section.html, "text/html; charset=utf-8");
                }
                response.status = 404;
              });
  server->Get("/healthz", [](const httplib::Request&, httplib::Response& response) {
    response.set_content("ok\n", "text/plain");
  });
}

// Every refusal says what was wrong.
void ExplainErrors(httplib::Server* server) {
  server->set_error_handler([](const httplib::Request& request, httplib::Response& response) {
    if (!response.body.empty()) return;
    const bool reads = request.method == "GET" || request.method == "HEAD";
    if (!reads) response.status = 405;
    response.set_content(StrCat(response.status, ": ", request.method, " ", request.path,
                                reads ? " is not here" : " is not answered: this server only shows",
                                "; there are /, /api/study, /section/NAME and /healthz\n"),
                         "text/plain; charset=utf-8");
  });
  server->set_exception_handler(
      [](const httplib::Request&, httplib::Response& response, std::exception_ptr thrown) {
        std::string what = "unknown";
        try {
          std::rethrow_exception(std::move(thrown));
        } catch (const std::exception& error) {
          what = error.what();
        } catch (...) {
        }
        LOG(ERROR) << "the live page failed: " << what;
        response.status = 500;
        response.set_content(StrCat("500: ", what, "\n"), "text/plain; charset=utf-8");
      });
}

}  // namespace

struct LivePage::State {
  explicit State(StudySource source) : rendering(std::move(source)) {}
  Rendering rendering;
  httplib::Server server;
  std::string address;
  std::thread thread;
};

LivePage::LivePage(std::unique_ptr<State> state) : state_(std::move(state)) {}

absl::StatusOr<std::unique_ptr<LivePage>> LivePage::Start(const std::string& text,
                                                          StudySource source) {
  MIXREC_ASSIGN_OR_RETURN(Address address, ParseAddress(text));
  auto state = std::make_unique<State>(std::move(source));
  httplib::Server& server = state->server;
  server.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
  // The library's default, SO_REUSEPORT, would let two servers share a port unawares.
  server.set_socket_options([](socket_t socket) {
    const int yes = 1;
    ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  });
  server.set_read_timeout(5);
  server.set_write_timeout(5);
  server.set_payload_max_length(1024);
  server.set_default_headers({{"Content-Security-Policy", kPolicy},
                              {"Cache-Control", "no-store"},
                              {"X-Content-Type-Options", "nosniff"},
                              {"Referrer-Policy", "no-referrer"}});
  AddPages(&state->rendering, &server);
  ExplainErrors(&server);
  if (address.port == 0) {
    address.port = server.bind_to_any_port(address.host.c_str());
    if (address.port <= 0) return FailureError("--http=", text, ": cannot listen there");
  } else if (!server.bind_to_port(address.host.c_str(), address.port)) {
    return FailureError("--http=", text,
                        ": cannot listen there; another program may have the port: choose another, "
                        "or 0 for any");
  }
  if (!IsLoopback(address.host)) {
    LOG(WARNING) << "--http=" << text << ": whoever reaches this address can read the study";
  }
  state->address = StrCat(address.shown_host, ":", address.port);
  state->thread = std::thread([&server] { server.listen_after_bind(); });
  // A stop() before it runs would be lost.
  while (!server.is_running()) std::this_thread::yield();
  return std::unique_ptr<LivePage>(new LivePage(std::move(state)));
}

LivePage::~LivePage() {
  state_->server.stop();
  state_->thread.join();
}

const std::string& LivePage::address() const { return state_->address; }

}  // namespace mixrec::launch
