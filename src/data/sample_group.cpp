#include "data/sample_group.h"

#include <algorithm>
#include <utility>

namespace plumbline {
namespace {

bool is_meta(std::string_view name) {
  const std::string_view first = name.substr(0, name.find('/'));
  return first.size() >= 4 && first.starts_with("__") && first.ends_with("__");
}

std::uint64_t padded_end(const Member& member) {
  return member.data_offset + (member.size + 511) / 512 * 512;
}

}  // namespace

std::optional<KeyAndSuffix> split_name(std::string_view name) {
  if (is_meta(name)) return std::nullopt;
  const std::size_t slash = name.rfind('/');
  const std::size_t base = slash == std::string_view::npos ? 0 : slash + 1;
  const std::size_t dot = name.find('.', base);
  if (dot == std::string_view::npos || dot == base) return std::nullopt;
  std::string suffix(name.substr(dot + 1));
  std::transform(suffix.begin(), suffix.end(), suffix.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return KeyAndSuffix{name.substr(0, dot), std::move(suffix)};
}

const GroupMember* SampleGroup::find(std::string_view suffix) const {
  for (const GroupMember& member : members) {
    if (member.suffix == suffix) return &member;
  }
  return nullptr;
}

const GroupMember* SampleGroup::find(const std::vector<std::string>& suffixes) const {
  for (const std::string& suffix : suffixes) {
    if (const GroupMember* member = find(suffix)) return member;
  }
  return nullptr;
}

std::optional<SampleGroup> GroupReader::next() {
  while (!ended_) {
    const std::optional<Member> member = tar_.next();
    if (!member) {
      ended_ = true;
      break;
    }
    ++members_;
    if (!member->regular) continue;
    std::optional<KeyAndSuffix> name = split_name(member->name);
    if (!name) continue;
    std::optional<SampleGroup> complete;
    if (!open_.members.empty() && (open_.key != name->key || open_.find(name->suffix))) {
      complete = std::exchange(open_, SampleGroup());
    }
    if (open_.members.empty()) {
      open_.key = name->key;
      open_.offset = member->header_offset;
    }
    open_.members.push_back({std::move(name->suffix), member->data_offset, member->size});
    open_.end = padded_end(*member);
    if (complete) return complete;
  }
  if (open_.members.empty()) return std::nullopt;
  return std::exchange(open_, SampleGroup());
}

SampleGroup parse_group(std::span<const std::uint8_t> bytes, const std::string& name) {
  const MemoryBytes memory(bytes, name);
  TarReader tar(memory, TarEnd::at_size);
  GroupReader groups(tar);
  std::optional<SampleGroup> group = groups.next();
  if (!group) {
    throw TarError(BadSampleClass::bad_header, 0, str("shard ", name, ": no sample where one was"));
  }
  return *std::move(group);
}

}  // namespace plumbline
