// The incomplete beta function and its inverse, the base of binomial intervals and tests.
#pragma once

namespace plumbline {

/// P[X <= x] and P[X > x] of Beta(a, b), each without cancellation.
struct Tails {
  long double lower;
  long double upper;
};

/// a, b > 0, 0 <= x <= 1. Continued fraction (Numerical Recipes 6.4), about sqrt(max(a, b)) terms.
[[nodiscard]] Tails beta_tails(long double a, long double b, long double x);

/// x with P[X <= x] = p (or P[X > x] = p with `upper`) for X ~ Beta(a, b), 0 < p < 1.
[[nodiscard]] double beta_quantile(double a, double b, double p, bool upper);

}  // namespace plumbline
