#include <gtest/gtest.h>

#include "plumbline/communicator.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

TEST(Nccl, AbsentIsAClearError) {
  const auto host = make_single_communicator();
  try {
    (void)make_nccl_communicator(*host, 0);
    FAIL() << "nothing thrown";
  } catch (const UsageError& e) {
    EXPECT_NE(std::string(e.what()).find("built without NCCL"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace plumbline
