// What the figures of a report are drawn with: SVG text. Colours come from CSS classes, so that
// light and dark pages read alike; report.css has them. Private to the report.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mixrec::bo_driver {

// Text with the characters that HTML and SVG reserve escaped.
std::string Escaped(std::string_view text);

// "0.3141": a score to read, not to compute with.
std::string ScoreText(double value);

// Seconds as people say them: "8 s", "3 min", "1 h 20 min", "2 d 3 h".
std::string DurationText(double seconds);

// Maps values to positions, linearly; low == high is widened.
class Axis {
 public:
  Axis(double low, double high, double from, double to);
  double operator()(double value) const {
    return from_ + (to_ - from_) * (value - low_) / (high_ - low_);
  }
  double low() const { return low_; }
  double high() const { return high_; }
  double from() const { return from_; }
  double to() const { return to_; }
  // Round values, about `count` of them; whole numbers only where the axis counts something.
  std::vector<double> Ticks(int count, bool whole = false) const;

 private:
  double low_, high_, from_, to_;
};

// Lowest and highest of values, with a margin at both ends.
class Range {
 public:
  void Include(double value);
  bool empty() const { return !low_; }
  // [0, 1] without values.
  Axis Fit(double from, double to, double margin = 0.06) const;

 private:
  std::optional<double> low_, high_;
};

enum class Align { kLeft, kMiddle, kRight };

// Elements of one drawing, `width` x `height` user units, one unit being a pixel where the page is
// as wide. Numbers are rounded to a tenth.
class Figure {
 public:
  Figure(double width, double height, std::string_view label);

  double width() const { return width_; }
  double height() const { return height_; }

  void Line(std::string_view css, double x1, double y1, double x2, double y2);
  void Rectangle(std::string_view css, double x, double y, double width, double height,
                 std::string_view title = {});
  void Circle(std::string_view css, double x, double y, double radius, std::string_view title = {});
  // Path data as in SVG.
  void Path(std::string_view css, const std::string& data, std::string_view title = {});
  void Text(std::string_view css, double x, double y, Align align, std::string_view text);
  void Raw(std::string_view svg) { body_ += svg; }

  // Elements between the two belong to the trial: the page marks them together.
  void BeginTrial(int number);
  void EndTrial() { body_ += "</g>"; }

  // Lines and numbers of the axes, and what they show.
  void VerticalAxis(const Axis& axis, double left, double right, std::string_view name);
  void HorizontalAxis(const Axis& axis, double y, std::string_view name, int ticks,
                      bool whole = false);

  // The whole element. `standalone`: with the styles, as a file of its own.
  std::string Svg() const;
  std::string StandaloneSvg(std::string_view styles) const;

 private:
  double width_, height_;
  std::string label_, body_;
};

// A point of a path, "12.5 3".
std::string At(double x, double y);

}  // namespace mixrec::bo_driver
