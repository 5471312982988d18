#include "launch/scheduler_address.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "common/file.h"
#include "common/log.h"
#include "launch/clock_text.h"
#include "net/endpoint.h"

namespace mixrec::launch {
namespace {

using Json = nlohmann::ordered_json;

}  // namespace

std::string SchedulerFile(const std::string& study) { return study + "/scheduler.json"; }

absl::StatusOr<SchedulerAddress> ReadSchedulerAddress(const std::string& study) {
  MIXREC_ASSIGN_OR_RETURN(const std::string text, ReadFile(SchedulerFile(study)));
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  try {
    SchedulerAddress address;
    address.address = json.at("address").get<std::string>();
    address.http = json.value("http", "");
    address.host = json.value("host", "");
    address.process = json.value("process", int64_t{0});
    address.incarnation = json.value("incarnation", uint64_t{0});
    address.key_file = json.value("key_file", "");
    address.study = json.value("study", "");
    return address;
  } catch (const Json::exception& error) {
    return DataError(SchedulerFile(study), ": ", error.what());
  }
}

absl::Status WriteSchedulerAddress(const SchedulerAddress& address) {
  const Json json{{"address", address.address},
                  {"http", address.http},
                  {"host", address.host},
                  {"process", address.process},
                  {"incarnation", address.incarnation},
                  {"key_file", address.key_file},
                  {"study", address.study}};
  return WriteFileAtomic(SchedulerFile(address.study), json.dump(2) + "\n");
}

absl::StatusOr<net::CurveKeys> KeysToListen(const std::string& endpoint,
                                            const std::string& key_file, bool insecure,
                                            const std::string& study, std::string* used) {
  used->clear();
  if (key_file.empty() && (insecure || net::IsLoopback(endpoint))) return net::CurveKeys();
  *used = key_file.empty() ? study + "/scheduler.key" : key_file;
  return net::ReadOrMakeCurveKeys(*used);
}

absl::StatusOr<std::unique_ptr<net::ZmqLoop>> ListenAgain(const std::string& endpoint,
                                                          const SchedulerAddress& before,
                                                          net::ZmqOptions options) {
  const std::string host = endpoint.substr(0, endpoint.rfind(':'));
  const std::string port = before.address.substr(before.address.rfind(':') + 1);
  if (endpoint == host + ":0" && !before.address.empty() && before.host == HostName()) {
    options.listen = StrCat(host, ":", port);
    auto loop = net::ZmqLoop::Create(options);
    if (loop.ok()) return loop;
    LOG(INFO) << "the port of the scheduler before is taken: " << loop.status().message();
  }
  options.listen = endpoint;
  return net::ZmqLoop::Create(options);
}

}  // namespace mixrec::launch
