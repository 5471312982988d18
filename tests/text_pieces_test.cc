#include "data/text_pieces.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace mixrec::data {
namespace {

using ::testing::ElementsAre;
using ::testing::IsSubsetOf;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

TextPieceOptions All() {
  TextPieceOptions options;
  options.per_text = 100;
  options.max_words = 4;
  options.min_words = 2;
  return options;
}

TEST(TextPieces, SentencesEndAtAMarkBeforeWhiteSpaceAndNotInsideAWord) {
  EXPECT_THAT(TextPieces({"Fits 2.5 inch. Is it\tnew? Yes!  Steel; very hard"}, All()),
              UnorderedElementsAre("Fits 2.5 inch.", "Is it new?", "very hard"));
}

TEST(TextPieces, LongSentencesAreCutAndWhatIsTooShortIsLeftOut) {
  EXPECT_THAT(TextPieces({"a b c d e f g h i"}, All()), UnorderedElementsAre("a b c d", "e f g h"));
  EXPECT_THAT(TextPieces({"", " . ! ", "one"}, All()), ElementsAre());
}

TEST(TextPieces, NoPieceComesTwiceAndNoTextGivesMoreThanItsShare) {
  TextPieceOptions options = All();
  EXPECT_THAT(TextPieces({"a b. a b. c d.", "c d. e f."}, options),
              UnorderedElementsAre("a b.", "c d.", "e f."));
  options.per_text = 2;
  const std::vector<std::string> text = {"a b. c d. e f. g h. i j."};
  EXPECT_THAT(TextPieces(text, options), SizeIs(2));
  EXPECT_THAT(TextPieces(text, options), IsSubsetOf({"a b.", "c d.", "e f.", "g h.", "i j."}));
  options.per_text = 0;
  EXPECT_THAT(TextPieces(text, options), ElementsAre());
}

TEST(TextPieces, AnotherSeedDrawsOthersAndTheSameSeedTheSame) {
  TextPieceOptions options = All();
  options.per_text = 3;
  std::string text;
  for (int k = 0; k < 40; ++k) text += "word " + std::to_string(k) + ". ";
  const auto first = TextPieces({text}, options);
  EXPECT_EQ(TextPieces({text}, options), first);
  options.seed = 2;
  EXPECT_NE(TextPieces({text}, options), first);
}

}  // namespace
}  // namespace mixrec::data
