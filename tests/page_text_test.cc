#include "data/page_text.h"

#include <gtest/gtest.h>

namespace mixrec::data {
namespace {

TEST(PageText, EntitiesBecomeTheirCharacters) {
  EXPECT_EQ(PageText("Nuts &amp; Bolts, 1/2&quot; &#39;A&#x27; &eacute; 3&trade;"),
            "Nuts & Bolts, 1/2\" 'A' \xC3\xA9 3\xE2\x84\xA2");
}

TEST(PageText, WhatIsEncodedTwiceIsDecodedTwice) {
  EXPECT_EQ(PageText("A &amp;amp; B &lt;b&gt;bold&lt;/b&gt;"), "A & B bold");
}

TEST(PageText, TagsSeparateWords) {
  EXPECT_EQ(PageText("<span class=\"a\">Saw</span><br/>Blade<!-- x -->"), "Saw Blade");
}

TEST(PageText, SignsThatAreNeitherTagsNorEntitiesStay) {
  EXPECT_EQ(PageText("1 < 2 && 3 > 2; R&D; &bogus; &#0; &#xD800; a<"),
            "1 < 2 && 3 > 2; R&D; &bogus; &#0; &#xD800; a<");
  EXPECT_EQ(PageText("open <b tag"), "open <b tag");
}

TEST(PageText, WhiteSpaceAndControlCharactersBecomeOneSpace) {
  EXPECT_EQ(PageText("\t a\r\n\tb\x01&nbsp;&#10;c \x7F"), "a b c");
  EXPECT_EQ(PageText(" \n "), "");
}

}  // namespace
}  // namespace mixrec::data
