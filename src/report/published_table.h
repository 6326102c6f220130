// Tables of models as others publish them, brought to our columns.
#pragma once

#include <string>

#include "report/csv.h"

namespace plumbline {

/// Renames what `table` calls otherwise and returns whose format it is:
///   "openclip"   columns `name` and `pretrained` in the place of `model` (OpenCLIP's results):
///                model = name/pretrained, type openai or openclip; "ImageNet 1k" is `imagenet` ...
///   "testbed"    column `val` (the robustness testbed's table of all evaluations): `val` is
///                `imagenet`, "imagenet-r" is `r` ...; percent become fractions; type UNTYPED,
///                which no baseline takes, where there is no such column
///   "plumbline"  anything else, unchanged
/// Throws DataError "PATH:LINE: ..." for a percentage outside 0..100.
std::string adopt_published_columns(CsvTable& table);

}  // namespace plumbline
