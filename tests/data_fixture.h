// Folders and data sets for the tests of data/.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "common/file.h"
#include "common/status.h"
#include "data/dataset.h"
#include "tests/test_folder.h"

namespace mixrec::data {

// Without WriteFileAtomic's fsync: these tests write thousands of files.
inline void WritePlain(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

inline void WriteDataset(const std::string& folder, const std::string& inter,
                         const std::string& item) {
  WritePlain(folder + "/d.inter", inter);
  WritePlain(folder + "/d.item", item);
}

// Loads what is in the folder, keeping every item.
inline absl::StatusOr<Dataset> LoadAll(const std::string& folder) {
  DatasetOptions options;
  options.folder = folder;
  options.min_item_interactions = 1;
  return LoadDataset(options);
}

}  // namespace mixrec::data

// In a test: skips it when a file of the shared folder is not there.
#define MIXREC_SKIP_WITHOUT(path) \
  if (!::mixrec::PathExists(path)) GTEST_SKIP() << path << " is absent; set MIXREC_SHARED"
