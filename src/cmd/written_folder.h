// A folder that a command writes as a whole: complete, or not there.
#pragma once

#include <functional>
#include <string>

namespace plumbline {

/// Throws UsageError when OUT is a file or a folder with something in it. Commands call it before
/// they begin to work.
void refuse_existing(const std::string& out);

/// Lets `fill` write a folder beside OUT, then renames it to OUT; what was written is removed when
/// `fill` throws. Throws UsageError as refuse_existing(), Error naming the path and the system's
/// reason.
void write_folder(const std::string& out, const std::function<void(const std::string&)>& fill);

}  // namespace plumbline
