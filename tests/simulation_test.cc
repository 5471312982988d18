#include "net/simulation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "probe_actor.h"

namespace mixrec::net {
namespace {

using Probe = ProbeActor;

Probe* AddProbe(Simulation* net, const Peer& name, std::unique_ptr<Probe> probe = nullptr) {
  if (probe == nullptr) probe = std::make_unique<Probe>();
  Probe* raw = probe.get();
  net->Add(name, std::move(probe));
  return raw;
}

void Send(Simulation* net, const Peer& from, const Peer& to, const std::string& text) {
  net->Post(from, [=](Outbox* out) { out->Send(to, TextMessage(text)); });
}

// A hundred numbered messages from a to b under the given misfortunes.
std::vector<std::string> Hundred(uint64_t seed, const SimulationOptions& options,
                                 uint64_t* history = nullptr) {
  Simulation net(seed, options);
  AddProbe(&net, "a");
  Probe* b = AddProbe(&net, "b");
  for (int i = 0; i < 100; ++i) Send(&net, "a", "b", std::to_string(i));
  net.RunUntil(kSecond);
  std::vector<std::string> texts;
  for (const auto& arrival : b->arrivals) texts.push_back(arrival.text);
  if (history != nullptr) *history = net.history();
  return texts;
}

TEST(Simulation, WithoutFaultsEveryMessageArrivesOnceAndOutOfOrder) {
  std::vector<std::string> texts = Hundred(1, {});
  EXPECT_FALSE(std::is_sorted(texts.begin(), texts.end(), [](const auto& a, const auto& b) {
    return std::stoi(a) < std::stoi(b);
  }));
  std::map<std::string, int> counts;
  for (const std::string& text : texts) ++counts[text];
  EXPECT_EQ(texts.size(), 100u);
  EXPECT_EQ(counts.size(), 100u);
}

TEST(Simulation, MessagesAreLostAndRepeatedAtTheGivenRates) {
  SimulationOptions lossy, repeating;
  lossy.drop = 0.3;
  repeating.duplicate = 0.3;
  size_t lost = 0, repeated = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    lost += 100 - Hundred(seed, lossy).size();
    repeated += Hundred(seed, repeating).size() - 100;
  }
  EXPECT_NEAR(lost, 600, 100);
  EXPECT_NEAR(repeated, 600, 100);
}

TEST(Simulation, TheSameSeedGivesTheSameHistoryAndAnotherSeedAnother) {
  SimulationOptions options;
  options.drop = options.duplicate = options.straggle = 0.1;
  uint64_t first = 0, again = 0, other = 0;
  EXPECT_EQ(Hundred(7, options, &first), Hundred(7, options, &again));
  Hundred(8, options, &other);
  EXPECT_EQ(first, again);
  EXPECT_NE(first, other);
}

TEST(Simulation, TheHistoryKnowsTheBytes) {
  uint64_t histories[2];
  for (int i = 0; i < 2; ++i) {
    Simulation net(3);
    AddProbe(&net, "a");
    AddProbe(&net, "b");
    Send(&net, "a", "b", i == 0 ? "x" : "y");
    net.RunUntil(kSecond);
    histories[i] = net.history();
  }
  EXPECT_NE(histories[0], histories[1]);
}

TEST(Simulation, AnAnswerReachesTheLifeThatAskedAndComesFromWhomItAsked) {
  Simulation net(1);
  Probe* a = AddProbe(&net, "a");
  net.Add("b", EchoActor());
  Send(&net, "a", "b", "hello");
  net.RunUntil(kSecond);
  ASSERT_EQ(a->arrivals.size(), 1u);
  EXPECT_EQ(a->arrivals[0].text, "echo hello");
  EXPECT_EQ(a->arrivals[0].from, "b");
}

TEST(Simulation, WhatADeadActorSentArrivesButTheAnswerDoesNotReachItsNextLife) {
  Simulation net(1);
  AddProbe(&net, "a");
  auto echo = EchoActor();
  Probe* b = AddProbe(&net, "b", std::move(echo));
  net.Post("a", [&](Outbox* out) { out->Send("b", TextMessage("last words")); });
  net.Step();
  net.Kill("a");
  EXPECT_FALSE(net.Alive("a"));
  Probe* again = AddProbe(&net, "a");
  net.RunUntil(kSecond);
  ASSERT_EQ(b->arrivals.size(), 1u);
  EXPECT_TRUE(again->arrivals.empty());
  Send(&net, "b", "a", "to whoever is there");
  net.RunUntil(2 * kSecond);
  EXPECT_EQ(again->arrivals.size(), 1u);
}

TEST(Simulation, APausedActorGetsItsMessagesAndTicksAfterContinue) {
  Simulation net(1);
  AddProbe(&net, "a");
  auto probe = std::make_unique<Probe>();
  probe->on_start = [](Outbox* out) { out->WakeAt(kSecond); };
  probe->on_receive = [](const Peer&, const Message&, Outbox* out) { out->WakeAt(kSecond); };
  Probe* b = AddProbe(&net, "b", std::move(probe));
  net.Pause("b");
  Send(&net, "a", "b", "1");
  Send(&net, "a", "b", "2");
  net.RunUntil(5 * kSecond);
  EXPECT_TRUE(b->arrivals.empty());
  EXPECT_TRUE(b->ticks.empty());
  net.Continue("b");
  net.RunUntil(6 * kSecond);
  ASSERT_EQ(b->arrivals.size(), 2u);
  EXPECT_GE(b->arrivals[0].time, 5 * kSecond);
  ASSERT_EQ(b->ticks.size(), 1u);
  EXPECT_GE(b->ticks[0], 5 * kSecond);
}

TEST(Simulation, APartitionMayBeOneWayAndHeldMessagesComeAfterHeal) {
  SimulationOptions options;
  options.held = 1;
  Simulation net(1, options);
  Probe* a = AddProbe(&net, "a");
  Probe* b = AddProbe(&net, "b");
  net.Partition("a", "b", /*both=*/false);
  Send(&net, "a", "b", "there");
  Send(&net, "b", "a", "back");
  net.RunUntil(kSecond);
  EXPECT_EQ(a->arrivals.size(), 1u);
  EXPECT_TRUE(b->arrivals.empty());
  net.Heal();
  net.RunUntil(2 * kSecond);
  EXPECT_EQ(b->arrivals.size(), 1u);
  net.options()->held = 0;
  net.Partition("a", "b");
  Send(&net, "a", "b", "lost");
  net.RunUntil(3 * kSecond);
  net.Heal();
  net.RunUntil(4 * kSecond);
  EXPECT_EQ(b->arrivals.size(), 1u);
}

TEST(Simulation, EachCallAsksForItsTickAnew) {
  Simulation net(1);
  AddProbe(&net, "a");
  auto probe = std::make_unique<Probe>();
  probe->on_start = [](Outbox* out) {
    out->WakeAt(20 * kMillisecond);
    out->WakeAt(10 * kMillisecond);
  };
  probe->on_tick = [](Outbox* out) { out->WakeAt(out->now() + 100 * kMillisecond); };
  Probe* b = AddProbe(&net, "b", std::move(probe));
  net.RunUntil(50 * kMillisecond);
  ASSERT_EQ(b->ticks.size(), 1u);
  EXPECT_NEAR(b->ticks[0], 10 * kMillisecond, kMillisecond);
  Send(&net, "a", "b", "a call that asks for nothing");
  net.RunUntil(kSecond);
  EXPECT_EQ(b->ticks.size(), 1u);
}

TEST(Simulation, APostKeepsTheTickThatWasAskedFor) {
  Simulation net(1);
  auto probe = std::make_unique<Probe>();
  probe->on_start = [](Outbox* out) { out->WakeAt(10 * kMillisecond); };
  Probe* a = AddProbe(&net, "a", std::move(probe));
  net.Post("a", [](Outbox*) {});
  net.RunUntil(kSecond);
  EXPECT_EQ(a->ticks.size(), 1u);
}

TEST(Simulation, WhoWantsATickAtOnceDoesNotStopTheClock) {
  Simulation net(1);
  auto probe = std::make_unique<Probe>();
  probe->on_start = probe->on_tick = [](Outbox* out) { out->WakeAt(0); };
  Probe* a = AddProbe(&net, "a", std::move(probe));
  net.RunUntil(kMillisecond);
  EXPECT_EQ(net.now(), kMillisecond);
  EXPECT_GT(a->ticks.size(), 5u);
}

TEST(Simulation, AStoppedActorSendsItsLastMessagesAndIsGone) {
  Simulation net(1);
  Probe* a = AddProbe(&net, "a");
  auto probe = std::make_unique<Probe>();
  probe->on_start = [](Outbox* out) {
    out->Send("a", TextMessage("bye"));
    out->Stop();
  };
  net.Add("b", std::move(probe));
  net.RunUntil(kSecond);
  EXPECT_FALSE(net.Alive("b"));
  EXPECT_EQ(a->arrivals.size(), 1u);
}

TEST(Simulation, AScriptRunsAtItsTimeAndAPredicateEndsTheRun) {
  Simulation net(1);
  Probe* a = AddProbe(&net, "a");
  net.At(kSecond, [&] { net.Post("a", [](Outbox* out) { out->Send("a", TextMessage("now")); }); });
  EXPECT_TRUE(net.RunUntil([&] { return !a->arrivals.empty(); }, 2 * kSecond));
  EXPECT_GE(net.now(), kSecond);
  EXPECT_FALSE(net.RunUntil([] { return false; }, 3 * kSecond));
  EXPECT_EQ(net.now(), 3 * kSecond);
}

TEST(Simulation, TheTraceTellsWhatHappened) {
  SimulationOptions options;
  options.trace = true;
  options.describe = [](const Message& message) { return "text " + TextOf(message); };
  Simulation net(1, options);
  AddProbe(&net, "a");
  AddProbe(&net, "b");
  Send(&net, "a", "b", "x");
  net.RunUntil(kSecond);
  EXPECT_NE(net.trace().find("b#1 message from a#1: text x\n"), std::string::npos) << net.trace();
}

}  // namespace
}  // namespace mixrec::net
