// Prints the captions and tracks that a node publishes and counts what was lost on the way.
// The contract is docs/messages.md.

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iomanip>
#include <iostream>
#include <iterator>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>
#include <zmq.hpp>
#include <zmq_addon.hpp>

namespace {

using json = nlohmann::json;

const std::string kTracks = "henasy/1/tracks";
const std::string kCaption = "henasy/1/caption";

// Counts by session and topic: a new session is a publisher that restarted, not a gap.
class GapCounter {
 public:
  void Count(const std::string& session, const std::string& topic, std::uint64_t seq) {
    const auto found = next_.try_emplace({session, topic}, seq).first;
    if (seq > found->second) gaps_ += seq - found->second;
    if (seq >= found->second) found->second = seq + 1;
    ++received_;
  }
  std::uint64_t gaps() const { return gaps_; }
  std::uint64_t received() const { return received_; }

 private:
  std::map<std::pair<std::string, std::string>, std::uint64_t> next_;
  std::uint64_t gaps_ = 0;
  std::uint64_t received_ = 0;
};

double Seconds(const json& stamp_ns) { return static_cast<double>(stamp_ns.get<std::int64_t>()) / 1e9; }

void PrintCaption(const json& body) {
  std::cout << Seconds(body.at("stamp_ns")) << " s  caption  " << body.at("text").get<std::string>() << " ("
            << std::setprecision(2) << body.at("score").get<double>() << std::setprecision(3) << ")"
            << (body.at("final").get<bool>() ? " - ended" : "") << std::endl;
}

void PrintTracks(const json& body) {
  std::cout << Seconds(body.at("stamp_ns")) << " s  tracks ";
  for (const json& track : body.at("tracks")) {
    const json& box = track.at("box_xyxy");
    std::cout << "  " << track.at("label").get<std::string>() << "#" << track.at("id").get<std::int64_t>() << " "
              << track.at("state").get<std::string>() << std::setprecision(0) << " [" << box.at(0).get<double>() << " "
              << box.at(1).get<double>() << " " << box.at(2).get<double>() << " " << box.at(3).get<double>() << "]"
              << std::setprecision(3);
  }
  std::cout << std::endl;
}

// Reads unknown keys over, as version 1 asks for. Throws json::exception on a body that is no message.
void Handle(const std::string& topic, const zmq::message_t& part, GapCounter& counter) {
  const auto* bytes = part.data<std::uint8_t>();
  const json body = json::from_msgpack(bytes, bytes + part.size());
  const auto session = body.at("session").get<std::string>();
  const auto seq = body.at("seq").get<std::uint64_t>();
  if (topic == kCaption) PrintCaption(body);
  if (topic == kTracks) PrintTracks(body);
  counter.Count(session, topic, seq);
}

int Usage(const char* program) {
  std::cerr << "usage: " << program << " [tcp://HOST:PORT] [--count N]\n"
            << "Prints captions and tracks; ends after N messages, or with Ctrl-C.\n";
  return 2;
}

int Run(const std::string& endpoint, std::uint64_t count) {
  zmq::context_t context;
  zmq::socket_t socket(context, zmq::socket_type::sub);
  socket.set(zmq::sockopt::tcp_keepalive, 1);  // a machine that vanished never closes its connection
  socket.set(zmq::sockopt::linger, 0);
  socket.set(zmq::sockopt::subscribe, kTracks);
  socket.set(zmq::sockopt::subscribe, kCaption);
  socket.connect(endpoint);

  GapCounter counter;
  std::uint64_t malformed = 0;
  while (count == 0 || counter.received() < count) {
    std::vector<zmq::message_t> parts;
    if (!zmq::recv_multipart(socket, std::back_inserter(parts))) continue;
    const std::string topic = parts.at(0).to_string();
    if (topic != kTracks && topic != kCaption) continue;
    try {
      Handle(topic, parts.at(1), counter);
    } catch (const std::exception& error) {
      ++malformed;
      std::cerr << topic << ": " << error.what() << std::endl;
    }
  }
  std::cerr << counter.received() << " messages, " << counter.gaps() << " lost, " << malformed << " malformed"
            << std::endl;
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::string endpoint = "tcp://127.0.0.1:5560";
  std::uint64_t count = 0;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--count") == 0 && i + 1 < argc) {
      char* end = nullptr;
      count = std::strtoull(argv[++i], &end, 10);
      if (*end != '\0' || count == 0) return Usage(argv[0]);
    } else if (argv[i][0] != '-') {
      endpoint = argv[i];
    } else {
      return Usage(argv[0]);
    }
  }
  std::cout << std::fixed << std::setprecision(3);
  try {
    return Run(endpoint, count);
  } catch (const zmq::error_t& error) {
    std::cerr << endpoint << ": " << error.what() << std::endl;
    return 2;
  }
}
