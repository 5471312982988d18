#include "data/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/random.h"
#include "tests/data_fixture.h"

namespace mixrec::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kItems[] =
    "item_id:token\ttitle:token_seq\tbrand:token_seq\tcategories:token_seq\n"
    "a\tAlpha\tAcme\tTools\n"
    "b\tBeta\t\tTools\n"
    "c\tGamma\tCorp\t\n"
    "d\t \tCorp\tTools\n";

std::string Interactions(const std::string& lines) {
  return "user_id:token\titem_id:token\ttimestamp:float\n" + lines;
}
constexpr char kThree[] = "u\ta\t1\nu\tb\t2\nu\tc\t3\n";

std::vector<int32_t> ToVector(absl::Span<const int32_t> span) { return {span.begin(), span.end()}; }

TEST(Dataset, SentencesAreKeyValuePairsWithoutEmptyValues) {
  const std::string folder = TestFolder();
  WriteDataset(folder, Interactions(kThree), kItems);
  const auto dataset = LoadAll(folder);
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->sentence(0), "title Alpha brand Acme categories Tools");
  EXPECT_EQ(dataset->sentence(1), "title Beta categories Tools");
  EXPECT_EQ(dataset->sentence(2), "title Gamma brand Corp");
  EXPECT_EQ(dataset->title(2), "Gamma");
  EXPECT_EQ(dataset->FindItem("b"), 1);
  EXPECT_EQ(dataset->FindUser("u"), 0);
  EXPECT_FALSE(dataset->FindItem("d").has_value());
  EXPECT_EQ(dataset->stats().items_without_title, 1);
}

TEST(Dataset, HistoriesAreSortedByTimeAndTiesKeepTheFileOrder) {
  const std::string folder = TestFolder();
  WriteDataset(folder, Interactions("u\tc\t5\nu\tb\t1e3\nu\ta\t5\nu\ta\t-2.5\n"), kItems);
  const auto dataset = LoadAll(folder);
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_THAT(ToVector(dataset->history(0)), ElementsAre(0, 2, 0, 1));
  EXPECT_EQ(dataset->stats().repeated_pairs, 1);
}

TEST(Dataset, LargeTimestampsAreComparedExactly) {
  const std::string folder = TestFolder();
  WriteDataset(folder, Interactions("u\tc\t9007199254740993\nu\tb\t9007199254740992\nu\ta\t1\n"),
               kItems);
  const auto dataset = LoadAll(folder);
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_THAT(ToVector(dataset->history(0)), ElementsAre(0, 1, 2));
}

TEST(Dataset, WithoutTimestampsTheFileOrderCountsAndIsSaid) {
  const std::string folder = TestFolder();
  WriteDataset(folder, "item_id:token\tuser_id:token\nc\tu\na\tu\nb\tu\n", kItems);
  const auto dataset = LoadAll(folder);
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_THAT(ToVector(dataset->history(0)), ElementsAre(2, 0, 1));
  EXPECT_THAT(Describe(dataset->stats()), ::testing::Contains(HasSubstr("order of the file")));
}

TEST(Dataset, TheFilterIsOnePassOverItemsThenUsers) {
  // a: 4 interactions, b: 3, c: 4, x: unknown, d: no title. Minimum 4 keeps a and c; then u
  // (a,c,a,c) stays, v (a,c) and w (nothing) go; a and c stay though only 2 interactions each are
  // left.
  const std::string folder = TestFolder();
  WriteDataset(folder,
               Interactions("u\ta\t1\nu\tc\t2\nu\ta\t3\nu\tc\t4\nu\tb\t5\nv\ta\t1\nv\tc\t2\n"
                            "v\tb\t3\nv\tx\t4\nw\tb\t1\nw\td\t2\nt\ta\t1\nt\tc\t2\n"),
               kItems);
  DatasetOptions options;
  options.folder = folder;
  const auto dataset = LoadDataset(options);
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  const DatasetStats& stats = dataset->stats();
  EXPECT_EQ(stats.users_before, 4);
  EXPECT_EQ(stats.items_before, 4);
  EXPECT_EQ(stats.interactions_before, 13);
  EXPECT_EQ(stats.users_after, 1);
  EXPECT_EQ(stats.items_after, 2);
  EXPECT_EQ(stats.interactions_after, 4);
  EXPECT_EQ(stats.items_without_title, 1);
  EXPECT_EQ(stats.items_below_minimum, 1);
  EXPECT_EQ(stats.unknown_items, 1);
  EXPECT_EQ(stats.unknown_item_interactions, 1);
  EXPECT_EQ(stats.users_below_minimum, 3);
  EXPECT_EQ(stats.users_with_empty_history, 1);
  EXPECT_THAT(ToVector(dataset->history(0)), ElementsAre(0, 1, 0, 1));
}

TEST(Dataset, ItemsInNoHistoryAreNotCandidates) {
  const std::string folder = TestFolder();
  WriteDataset(folder, Interactions(std::string("v\ta\t1\n") + kThree),
               std::string(kItems) + "e\tEpsilon\t\t\n");
  const auto dataset = LoadAll(folder);
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->items(), 3);
  EXPECT_EQ(dataset->stats().items_without_history, 1);
  EXPECT_EQ(dataset->stats().users_with_one_training_item, 1);
  EXPECT_TRUE(TrainableUsers(*dataset).empty());
}

TEST(Dataset, LeaveOneOutSplitsAndInputs) {
  const Dataset dataset =
      Dataset::FromHistories({{0, 1, 2, 3, 4}, {4, 3, 2}}, {"a", "b", "c", "d", "e"});
  EXPECT_THAT(ToVector(dataset.training_items(0)), ElementsAre(0, 1, 2));
  EXPECT_EQ(dataset.target(0, Split::kValidation), 3);
  EXPECT_EQ(dataset.target(0, Split::kTest), 4);
  EXPECT_THAT(ToVector(EvaluationInput(dataset, 0, Split::kValidation)), ElementsAre(0, 1, 2));
  EXPECT_THAT(ToVector(EvaluationInput(dataset, 0, Split::kTest)), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(ToVector(EvaluationInput(dataset, 0, Split::kTest, 2)), ElementsAre(2, 3));
  EXPECT_THAT(ToVector(EvaluationInput(dataset, 1, Split::kValidation)), ElementsAre(4));
  EXPECT_THAT(ToVector(RecommendationInput(dataset, 0, 3)), ElementsAre(2, 3, 4));
  EXPECT_THAT(TrainableUsers(dataset), ElementsAre(0));
}

TEST(Dataset, ByteOrderMarkAndCarriageReturnsAreRead) {
  const std::string folder = TestFolder();
  WriteDataset(folder,
               "\xEF\xBB\xBFuser_id:token\titem_id:token\ttimestamp:float\r\nu\ta\t3\r\n\r\n"
               "u\tb\t2\r\nu\tc\t1",
               kItems);
  const auto dataset = LoadAll(folder);
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_THAT(ToVector(dataset->history(0)), ElementsAre(2, 1, 0));
}

TEST(Dataset, InvalidUtf8InTextIsRepairedAndCounted) {
  const std::string folder = TestFolder();
  WriteDataset(folder, Interactions(kThree),
               "item_id:token\ttitle:token_seq\na\tAl\xFFpha\nb\tB\nc\tC\n");
  const auto dataset = LoadAll(folder);
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->title(0), "Al\xEF\xBF\xBDpha");
  EXPECT_EQ(dataset->stats().repaired_texts, 1);
  EXPECT_THAT(dataset->stats().missing_fields, ElementsAre("brand", "categories"));
}

TEST(Dataset, TheFirstOfDuplicateItemsCounts) {
  const std::string folder = TestFolder();
  WriteDataset(folder, Interactions(kThree), std::string(kItems) + "a\tOther\t\t\n");
  const auto dataset = LoadAll(folder);
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->title(0), "Alpha");
  EXPECT_EQ(dataset->stats().duplicate_items, 1);
}

TEST(Dataset, ATitleUnderAnotherNameIsReadWithTitleField) {
  const std::string folder = TestFolder();
  WriteDataset(folder, Interactions(kThree),
               "item_id:token\tmovie_title:token_seq\tyear:float\na\tA\t1\nb\tB\t2\nc\tC\t\n");
  const auto without = LoadAll(folder);
  ASSERT_FALSE(without.ok());
  EXPECT_EQ(ExitCodeOf(without.status()), kExitData);
  const std::string message(without.status().message());
  EXPECT_THAT(message, HasSubstr("item_id, movie_title, year"));
  EXPECT_THAT(message, HasSubstr("--title_field"));

  DatasetOptions options;
  options.folder = folder;
  options.min_item_interactions = 1;
  options.title_field = "movie_title";
  options.item_fields = {"title", "year"};
  const auto dataset = LoadDataset(options);
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->sentence(0), "movie_title A year 1");
  EXPECT_EQ(dataset->sentence(2), "movie_title C");
}

struct BadFile {
  const char* name;
  std::string inter, item;
  const char* expected;
};

TEST(Dataset, BadFilesNameFileLineAndColumn) {
  const std::string good = Interactions(kThree);
  const BadFile cases[] = {
      {"number", Interactions("u\ta\t1\nu\tb\tsoon\n"), kItems,
       "d.inter:3: column timestamp: expected a number, found `soon`"},
      {"not finite", Interactions("u\ta\tnan\n"), kItems, "d.inter:2: column timestamp"},
      {"empty number", Interactions("u\ta\t\n"), kItems, "d.inter:2: column timestamp"},
      {"few columns", Interactions("u\ta\n"), kItems, "d.inter:2: expected 3"},
      {"many columns", good, std::string(kItems) + "e\tE\tx\ty\tz\n",
       "d.item:6: expected 4 tab-separated columns"},
      {"empty user", Interactions("\ta\t1\n"), kItems, "d.inter:2: column user_id: empty id"},
      {"empty item", Interactions("u\t\t1\n"), kItems, "d.inter:2: column item_id: empty id"},
      {"user not UTF-8", Interactions("\xC3\ta\t1\n"), kItems, "d.inter:2: column user_id"},
      {"item not UTF-8", good, std::string(kItems) + "\xFE\tE\t\t\n", "d.item:6: column item_id"},
      {"no type", "user_id\titem_id:token\n", kItems, "d.inter:1: column 1: expected `name:type`"},
      {"bad type", "user_id:text\titem_id:token\n", kItems, "found `user_id:text`"},
      {"twice", "user_id:token\tuser_id:token\n", kItems, "`user_id` appears twice"},
      {"no user", "item_id:token\n", kItems, "no column `user_id`; the columns are item_id"},
      {"empty file", "", kItems, "d.inter:1: no header"},
      {"no line", Interactions(""), kItems, "holds no interaction"},
      {"nobody left", Interactions("u\ta\t1\n"), kItems, "no user is left by the filter"},
  };
  const std::string folder = TestFolder();
  for (const BadFile& bad : cases) {
    SCOPED_TRACE(bad.name);
    WriteDataset(folder, bad.inter, bad.item);
    const auto dataset = LoadAll(folder);
    ASSERT_FALSE(dataset.ok());
    EXPECT_EQ(ExitCodeOf(dataset.status()), kExitData);
    EXPECT_THAT(std::string(dataset.status().message()), HasSubstr(bad.expected));
  }
}

TEST(Dataset, ExactlyOneFileOfEachKindIsWanted) {
  const std::string folder = TestFolder();
  EXPECT_THAT(std::string(LoadAll(folder).status().message()), HasSubstr("no *.inter"));
  WriteDataset(folder, Interactions(kThree), kItems);
  ASSERT_TRUE(WriteFileAtomic(folder + "/e.inter", "").ok());
  EXPECT_THAT(std::string(LoadAll(folder).status().message()), HasSubstr("leave exactly one"));
  EXPECT_FALSE(LoadAll(folder + "/absent").ok());
}

TEST(Dataset, AFieldThatTheUserNamedMustExist) {
  const std::string folder = TestFolder();
  WriteDataset(folder, Interactions(kThree), kItems);
  DatasetOptions options;
  options.folder = folder;
  options.item_fields = {"title", "colour"};
  EXPECT_THAT(std::string(LoadDataset(options).status().message()), HasSubstr("--item_fields"));
}

TEST(Dataset, TheContentHashFollowsTheBytes) {
  const std::string folder = TestFolder();
  WriteDataset(folder, Interactions(kThree), kItems);
  const std::string hash = LoadAll(folder)->content_hash();
  EXPECT_EQ(hash.size(), 32u);
  EXPECT_EQ(LoadAll(folder)->content_hash(), hash);
  WriteDataset(folder, Interactions(std::string(kThree) + "u\ta\t9\n"), kItems);
  EXPECT_NE(LoadAll(folder)->content_hash(), hash);
}

TEST(Dataset, DamagedFilesGiveAStatusNeverACrash) {
  const std::string folder = TestFolder();
  const std::string inter = Interactions(kThree), item = kItems;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    RandomStream random(HashKey(seed, "fuzz"));
    std::string damaged = seed % 2 == 0 ? inter : item;
    for (uint64_t changes = 1 + random.Below(4); changes > 0; --changes) {
      const size_t at = random.Below(damaged.size());
      constexpr char kBytes[] = "\t\n\r:\xFF\0\xEF 9e";
      const char byte = kBytes[random.Below(sizeof(kBytes))];
      switch (random.Below(3)) {
        case 0:
          damaged[at] = byte;
          break;
        case 1:
          damaged.insert(at, 1, byte);
          break;
        default:
          damaged.resize(at + 1);
      }
    }
    WriteDataset(folder, seed % 2 == 0 ? damaged : inter, seed % 2 == 0 ? item : damaged);
    const auto dataset = LoadAll(folder);
    if (!dataset.ok()) {
      EXPECT_FALSE(dataset.status().message().empty());
      continue;
    }
    for (int32_t user = 0; user < dataset->users(); ++user) {
      for (const int32_t i : dataset->history(user)) EXPECT_LT(i, dataset->items());
    }
  }
}

TEST(Dataset, TheScientificDataHasItsPublishedCounts) {
  DatasetOptions options;
  options.folder = SharedFolder() + "/data/scientific";
  MIXREC_SKIP_WITHOUT(options.folder);
  const auto dataset = LoadDataset(options);
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->stats().users_before, 8317);
  EXPECT_EQ(dataset->stats().items_before, 4344);
  EXPECT_EQ(dataset->stats().interactions_before, 58492);
  EXPECT_EQ(dataset->item_id(0), "i0");
}

}  // namespace
}  // namespace mixrec::data
