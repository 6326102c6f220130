// Cleaning steps one by one: captions of sources, HTML, ftfy, lower case.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "plumbline/error.h"
#include "text/byte_fixes.h"
#include "text/caption_clean.h"
#include "text/clean.h"
#include "text/fix_text.h"
#include "text/html.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace plumbline {
namespace {

std::string clean(const std::string& caption, const std::vector<std::string>& steps) {
  return clean_caption(caption, steps);
}

TEST(CaptionClean, UrlDecode) {
  EXPECT_EQ(clean("a+b%2Bc%20d", {"url_decode"}), "a b+c d");
  EXPECT_EQ(clean("caf%C3%A9 %e7%8c%ab", {"url_decode"}), "caf\xC3\xA9 \xE7\x8C\xAB");
  EXPECT_EQ(clean("100% %4 %zz %", {"url_decode"}), "100% %4 %zz %");
  // Half a character is replaced, also where its rest stands as text.
  EXPECT_EQ(clean("%C3\xC3\xA9", {"url_decode"}), "\xEF\xBF\xBD\xC3\xA9");
  EXPECT_EQ(clean("%E2%82x%FF", {"url_decode"}), "\xEF\xBF\xBDx\xEF\xBF\xBD");
}

TEST(CaptionClean, StripHtml) {
  EXPECT_EQ(clean("a <b>bold</b> <a href=\"x\">link</a>", {"strip_html"}), "a bold link");
  EXPECT_EQ(clean("1 < 2 <> x > <>> <<i>>", {"strip_html"}), "1 < 2   <>");
  EXPECT_EQ(clean("<\xC3\xA9>x<\xC3\xA9", {"strip_html"}), "x<\xC3\xA9");
  EXPECT_EQ(clean("<", {"strip_html"}), "<");
}

TEST(CaptionClean, StripUrls) {
  EXPECT_EQ(clean("see http://a.b/c?d or www.e.f now", {"strip_urls"}), "see  or  now");
  EXPECT_EQ(clean("http www http:", {"strip_urls"}), "http www ");
  EXPECT_EQ(clean("xhttpsy\xC2\xA0z", {"strip_urls"}), "x\xC2\xA0z");
}

TEST(CaptionClean, OrderAndErrors) {
  EXPECT_EQ(clean("%3Cb%3Ehi%3C/b%3E++there", {"url_decode", "strip_html", "collapse_space"}),
            "hi there");
  EXPECT_EQ(clean("\xFF", {}), "\xFF");
  EXPECT_THROW((void)clean("\xFF", {"strip_html"}), std::invalid_argument);
  EXPECT_THROW((void)clean("x", {"lower"}), UsageError);
}

TEST(Html, UnescapeHtml) {
  EXPECT_EQ(unescape_html(U"&lt;&LT&notit;&notin;&amp"), U"<<\u00ACit;\u2209&");
  EXPECT_EQ(unescape_html(U"&#x41;&#65&#0;&#128;&#xD800;&#x110000;&#1;&#xFFFF;."),
            U"AA\uFFFD\u20AC\uFFFD\uFFFD.");
  EXPECT_EQ(unescape_html(U"&#" + std::u32string(9000, U'9') + U";"), U"\uFFFD");
  EXPECT_EQ(unescape_html(U"&; &# &#x; &unknown; &"), U"&; &# &#x; &unknown; &");
}

TEST(Html, UnescapeEntities) {
  EXPECT_EQ(unescape_entities(U"&lt &lt; &EACUTE; &Eacute; &eAcute; &#59; &#x41;"),
            U"&lt < \u00C9 \u00C9 &eAcute; &#59; A");
  EXPECT_EQ(unescape_entities(U"&SZLIG;"), U"SS");
}

TEST(FixText, Mojibake) {
  EXPECT_EQ(fix_text(U"sch\u00C3\u00B6n"), U"sch\u00F6n");
  EXPECT_EQ(fix_text(U"\u00E2\u0153\u201D No problems"), U"\u2714 No problems");
  EXPECT_EQ(fix_text(U"caf\u00E9 na\u00EFve"), U"caf\u00E9 na\u00EFve");
  EXPECT_EQ(fix_text(U"\u00C3\u2014 <b>&amp;\n&amp;"), U"\u00D7 <b>&amp;\n&amp;");
}

TEST(FixText, Utf8Variants) {
  std::u32string text;
  EXPECT_TRUE(try_decode_utf8_variants("a\xED\xA0\xBD\xED\xB8\x80z\xC0\x80", text));
  EXPECT_EQ(text, (std::u32string{U'a', U'\U0001F600', U'z', U'\0'}));
  text.clear();
  EXPECT_FALSE(try_decode_utf8_variants("\xED\xA0\xBDxxxxx", text));
  EXPECT_FALSE(try_decode_utf8_variants("\xC0", text));
}

TEST(Unicode, LowerCase) {
  EXPECT_EQ(to_lower(U"\u039F\u0394\u039F\u03A3 \u03A3 \u03A3a"),
            U"\u03BF\u03B4\u03BF\u03C2 \u03C3 \u03C3a");
  EXPECT_EQ(to_lower(U"\u0130"), U"i\u0307");
}

TEST(Unicode, NormalizationLeavesLaterCharactersAlone) {
  EXPECT_EQ(to_nfc(U"e\u0301"), U"\u00E9");
  // U+10EFD has a combining class only since Unicode 15.
  EXPECT_EQ(to_nfc(U"e\u0301\U00010EFD\u0316"), U"\u00E9\U00010EFD\u0316");
}

TEST(Clean, Modes) {
  const std::string caption = " \xC2\xA0The_Cat's &amp;lt;3\n";
  EXPECT_EQ(clean_text(caption, CleanMode::lower), U"the_cat's <3");
  EXPECT_EQ(clean_text(caption, CleanMode::whitespace), U"The_Cat's <3");
  EXPECT_EQ(clean_text(caption, CleanMode::canonicalize), U"the cats 3");
}

}  // namespace
}  // namespace plumbline
