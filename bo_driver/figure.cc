#include "bo_driver/figure.h"

#include <absl/strings/str_format.h>

#include <algorithm>
#include <cmath>

#include "common/status.h"

namespace mixrec::bo_driver {
namespace {

using absl::StrFormat;

// 12.34 as "12.3", 12.0 as "12": half of a drawing is numbers.
std::string Number(double value) {
  const double tenths = std::round(value * 10);
  if (std::fmod(tenths, 10) == 0) return StrFormat("%.0f", tenths / 10);
  return StrFormat("%.1f", tenths / 10);
}

// 1, 2 or 5 times a power of ten, so that about `count` steps cover `span`.
double NiceStep(double span, int count) {
  const double raw = span / count;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  for (double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= raw) return factor * power;
  }
  return 10 * power;
}

std::string Title(std::string_view title) {
  return title.empty() ? "" : StrCat("<title>", Escaped(title), "</title>");
}

}  // namespace

std::string Escaped(std::string_view text) {
  std::string escaped;
  for (char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      default:
        // What XML does not allow would make the whole drawing unreadable.
        escaped += static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t' ? ' ' : c;
    }
  }
  return escaped;
}

std::string ScoreText(double value) { return StrFormat("%.5g", value); }

std::string DurationText(double seconds) {
  const int64_t whole = std::llround(std::max(0.0, seconds));
  if (whole < 60) return StrFormat("%d s", whole);
  if (whole < 3600) return StrFormat("%d min", whole / 60);
  if (whole < 86400) return StrFormat("%d h %d min", whole / 3600, whole / 60 % 60);
  return StrFormat("%d d %d h", whole / 86400, whole / 3600 % 24);
}

Axis::Axis(double low, double high, double from, double to)
    : low_(low), high_(high), from_(from), to_(to) {
  if (high_ - low_ > 1e-12 * std::max(1.0, std::abs(low_))) return;
  const double margin = std::max(1e-3, 0.1 * std::abs(low_));
  low_ -= margin;
  high_ += margin;
}

std::vector<double> Axis::Ticks(int count, bool whole) const {
  const double nice = NiceStep(high_ - low_, std::max(1, count));
  const double step = whole ? std::max(1.0, nice) : nice;
  std::vector<double> ticks;
  for (double k = std::ceil(low_ / step); k * step <= high_ + 1e-9 * step; ++k) {
    ticks.push_back(k == 0 ? 0.0 : k * step);  // no "-0"
  }
  return ticks;
}

void Range::Include(double value) {
  low_ = std::min(low_.value_or(value), value);
  high_ = std::max(high_.value_or(value), value);
}

Axis Range::Fit(double from, double to, double margin) const {
  if (empty()) return {0, 1, from, to};
  const double room = margin * (*high_ - *low_);
  return {*low_ - room, *high_ + room, from, to};
}

std::string At(double x, double y) { return StrCat(Number(x), " ", Number(y)); }

Figure::Figure(double width, double height, std::string_view label)
    : width_(width), height_(height), label_(Escaped(label)) {}

void Figure::Line(std::string_view css, double x1, double y1, double x2, double y2) {
  Path(css, StrCat("M", At(x1, y1), "L", At(x2, y2)));
}

void Figure::Rectangle(std::string_view css, double x, double y, double width, double height,
                       std::string_view title) {
  body_ += StrCat("<rect class=\"", css, "\" x=\"", Number(x), "\" y=\"", Number(y), "\" width=\"",
                  Number(std::max(0.0, width)), "\" height=\"", Number(std::max(0.0, height)),
                  "\">", Title(title), "</rect>\n");
}

void Figure::Circle(std::string_view css, double x, double y, double radius,
                    std::string_view title) {
  body_ += StrCat("<circle class=\"", css, "\" cx=\"", Number(x), "\" cy=\"", Number(y), "\" r=\"",
                  Number(radius), "\">", Title(title), "</circle>\n");
}

void Figure::Path(std::string_view css, const std::string& data, std::string_view title) {
  body_ += StrCat("<path class=\"", css, "\" d=\"", data, "\">", Title(title), "</path>\n");
}

void Figure::Text(std::string_view css, double x, double y, Align align, std::string_view text) {
  const char* anchor = align == Align::kLeft ? "start" : align == Align::kMiddle ? "middle" : "end";
  body_ += StrCat("<text class=\"", css, "\" x=\"", Number(x), "\" y=\"", Number(y),
                  "\" text-anchor=\"", anchor, "\">", Escaped(text), "</text>\n");
}

void Figure::BeginTrial(int number) { body_ += StrCat("<g data-trial=\"", number, "\">"); }

void Figure::VerticalAxis(const Axis& axis, double left, double right, std::string_view name) {
  for (double tick : axis.Ticks(5)) {
    Line("grid", left, axis(tick), right, axis(tick));
    Text("tick", left - 7, axis(tick) + 4, Align::kRight, StrFormat("%.4g", tick));
  }
  Text("tick", 2, axis.to() - 9, Align::kLeft, name);
}

void Figure::HorizontalAxis(const Axis& axis, double y, std::string_view name, int ticks,
                            bool whole) {
  Line("axis", axis.from(), y, axis.to(), y);
  for (double tick : axis.Ticks(ticks, whole)) {
    Line("axis", axis(tick), y, axis(tick), y + 4);
    Text("tick", axis(tick), y + 18, Align::kMiddle, StrFormat("%.4g", tick));
  }
  Text("tick", axis.to(), y + 34, Align::kRight, name);
}

std::string Figure::Svg() const {
  return StrCat("<svg role=\"img\" aria-label=\"", label_, "\" viewBox=\"0 0 ", Number(width_), " ",
                Number(height_), "\" width=\"", Number(width_), "\">\n", body_, "</svg>\n");
}

std::string Figure::StandaloneSvg(std::string_view styles) const {
  return StrCat("<svg role=\"img\" aria-label=\"", label_, "\" viewBox=\"0 0 ", Number(width_), " ",
                Number(height_), "\" width=\"", Number(width_), "\" height=\"", Number(height_),
                "\" xmlns=\"http://www.w3.org/2000/svg\">\n<title>", label_, "</title>\n<style>",
                styles, "</style>\n<rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n", body_,
                "</svg>\n");
}

}  // namespace mixrec::bo_driver
