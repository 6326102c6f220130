// What a run says about its ranks: the slow one, the newest numbers, the energy.
#include "train/straggler.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "core/file.h"
#include "plumbline/error.h"
#include "train/energy.h"
#include "train/prometheus.h"
#include "train/timed_communicator.h"

namespace plumbline {
namespace {

TEST(TimedCommunicator, CountsTheWaitForASlowRankOnTheOthers) {
  double waited[2] = {};
  run_in_process(2, [&](Communicator& ranks) {
    /// A communicator that owns nothing: the threads' one belongs to run_in_process.
    class Borrowed final : public Communicator {
     public:
      explicit Borrowed(Communicator& c) : c_(c) {}
      [[nodiscard]] int rank() const override { return c_.rank(); }
      [[nodiscard]] int size() const override { return c_.size(); }
      [[nodiscard]] int local_rank() const override { return c_.local_rank(); }
      [[nodiscard]] std::string name() const override { return c_.name(); }
      void all_reduce(void* d, std::int64_t n, ElementType t, Reduce op, StreamHandle s) override {
        c_.all_reduce(d, n, t, op, s);
      }
      void all_gather(const void* a, void* b, std::int64_t n, ElementType t,
                      StreamHandle s) override {
        c_.all_gather(a, b, n, t, s);
      }
      void reduce_scatter(const void* a, void* b, std::int64_t n, ElementType t, Reduce op,
                          StreamHandle s) override {
        c_.reduce_scatter(a, b, n, t, op, s);
      }
      void broadcast(void* d, std::int64_t n, ElementType t, int root, StreamHandle s) override {
        c_.broadcast(d, n, t, root, s);
      }
      void barrier() override { c_.barrier(); }
      [[noreturn]] void abort(int /*code*/) override { throw Error("abort"); }

     private:
      Communicator& c_;
    };
    const auto timed = time_collectives(std::make_unique<Borrowed>(ranks));
    if (timed->rank() == 1) std::this_thread::sleep_for(std::chrono::milliseconds(60));
    EXPECT_EQ(timed->all_reduce(1.0 + timed->rank(), Reduce::sum), 3.0);
    EXPECT_NE(timed->order_hash(), make_single_communicator()->order_hash());
    EXPECT_NO_THROW(check_same_order(*timed));
    waited[timed->rank()] = seconds_in_collectives(*timed);
    EXPECT_EQ(seconds_in_collectives(ranks), 0);
  });
  EXPECT_GT(waited[0], 0.05);
  EXPECT_LT(waited[1], 0.05);
}

/// Five windows in which rank 1 needs `own` ms of 100 for itself, `data` of them for its loader.
std::optional<Straggler> seen_after(int windows, double own_ms, double data_ms) {
  std::optional<Straggler> seen;
  run_in_process(3, [&](Communicator& ranks) {
    StragglerTable table(ranks);
    for (int w = 0; w < windows; ++w) {
      const bool slow = ranks.rank() == 1;
      for (int step = 0; step < 4; ++step) {
        table.add(0.1, slow ? data_ms / 1000 : 0.01, 0.1 - (slow ? own_ms : 60) / 1000);
      }
      const auto window = table.close_window();
      EXPECT_EQ(window.size(), 3U);
      EXPECT_EQ(spread_of(window).slowest_rank, own_ms > 60 ? 1 : 0);
      if (ranks.rank() == 0 && table.straggler()) seen = table.straggler();
    }
    EXPECT_EQ(table.total()[2].steps, 4.0 * windows);
  });
  return seen;
}

TEST(StragglerTable, NamesARankThatStaysSlowAndWhy) {
  EXPECT_FALSE(seen_after(4, 90, 0));   // not long enough
  EXPECT_FALSE(seen_after(20, 70, 0));  // a sixth slower
  const auto compute = seen_after(5, 90, 10);
  ASSERT_TRUE(compute);
  EXPECT_EQ(compute->rank, 1);
  EXPECT_EQ(compute->cause, "compute");
  EXPECT_NEAR(compute->own_ms, 90, 1e-6);
  EXPECT_NEAR(compute->median_ms, 60, 1e-6);
  EXPECT_EQ(seen_after(5, 90, 40)->cause, "data");
}

TEST(StragglerTable, SpreadAndTableAreOfOneStep) {
  const std::vector<RankTimes> ranks = {{10, 1.0, 0.1, 0.5}, {10, 1.0, 0.0, 0.1}};
  const RankSpread spread = spread_of(ranks);
  EXPECT_NEAR(spread.data_wait_frac, 0.05, 1e-12);
  EXPECT_NEAR(spread.data_wait_frac_max, 0.1, 1e-12);
  EXPECT_NEAR(spread.comm_wait_ms, 30, 1e-9);
  EXPECT_NEAR(spread.busy_ms_min, 40, 1e-9);
  EXPECT_NEAR(spread.busy_ms_max, 90, 1e-9);
  EXPECT_EQ(spread.slowest_rank, 1);
  const auto table = nlohmann::json::parse(rank_table_json(ranks, 1));
  ASSERT_EQ(table.size(), 1U);
  EXPECT_EQ(table[0]["rank"], 1);
  EXPECT_NEAR(table[0]["busy_ms"].get<double>(), 90, 1e-9);
}

TEST(Prometheus, EachNumberIsAGaugeAndNullsAreLeftOut) {
  StepMetrics m;
  m.step = 7;
  m.samples_per_s = 0.1 + 0.2;
  m.loss = std::numeric_limits<double>::quiet_NaN();
  const std::string text = prometheus_text(m, "a \"b\"\\", 1.5);
  EXPECT_NE(text.find("# TYPE plumbline_step gauge\nplumbline_step{run=\"a \\\"b\\\"\\\\\"} 7\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("plumbline_samples_per_s{run=\"a \\\"b\\\"\\\\\"} 0.30000000000000004\n"),
            std::string::npos);
  EXPECT_NE(text.find("} NaN\n"), std::string::npos);
  EXPECT_EQ(text.find("mfu"), std::string::npos);
  EXPECT_EQ(text.find("power_w"), std::string::npos);
}

TEST(Prometheus, TheFileIsReplacedAndAFailureIsToldOnce) {
  const std::string folder = testing::TempDir() + "plumbline_prometheus";
  std::filesystem::create_directories(folder);
  std::vector<std::string> told;
  const auto warn = [&](const std::string& what) { told.push_back(what); };
  PrometheusFile file(folder + "/run.prom", "demo", warn);
  StepMetrics m;
  m.step = 1;
  file.write(m);
  m.step = 2;
  file.write(m);
  EXPECT_NE(read_file(folder + "/run.prom").find("plumbline_step{run=\"demo\"} 2\n"),
            std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(folder + "/run.prom.tmp"));
  std::filesystem::remove_all(folder);
  file.write(m);
  file.write(m);
  ASSERT_EQ(told.size(), 1U);
  EXPECT_NE(told[0].find("run.prom: No such file"), std::string::npos) << told[0];
}

TEST(EnergyMeter, ReadsTheCounterOfTheGpuAtThatAddress) {
  EXPECT_EQ(EnergyMeter(0, "0000:3b:00.0", PLUMBLINE_FAKE_NVML).joules(), 1234.5);
  EXPECT_FALSE(EnergyMeter(0, "0000:3c:00.0", PLUMBLINE_FAKE_NVML).joules());
}

TEST(EnergyMeter, WithoutADriverThereIsNoFigure) {
  EXPECT_FALSE(EnergyMeter(0, "0000:00:00.0", "libno-such-driver.so").joules());
}

}  // namespace
}  // namespace plumbline
