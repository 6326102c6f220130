// Extended precision throughout: for a or b near 1e7 the logarithm of the beta density is the
// difference of numbers near 1e8, of which a double leaves seven digits.
#include "stats/distributions.h"

#include <array>
#include <cmath>
#include <limits>

#include "plumbline/error.h"
#include "plumbline/stats.h"

namespace plumbline {
namespace {

constexpr long double kEpsilon = 1e-18L;

/// Lentz's method for the continued fraction of I_x(a, b); converges fast for x < (a+1)/(a+b+2).
long double beta_fraction(long double a, long double b, long double x) {
  constexpr long double kTiny = 1e-4000L;
  const auto nonzero = [](long double v) { return std::fabs(v) < kTiny ? kTiny : v; };
  long double c = 1.0L;
  long double d = 1.0L / nonzero(1.0L - (a + b) * x / (a + 1.0L));
  long double h = d;
  for (int m = 1; m <= 1'000'000; ++m) {
    const long double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1.0L / nonzero(1.0L + even * d);
    c = nonzero(1.0L + even / c);
    h *= d * c;
    const long double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1.0L / nonzero(1.0L + odd * d);
    c = nonzero(1.0L + odd / c);
    const long double factor = d * c;
    h *= factor;
    if (std::fabs(factor - 1.0L) < kEpsilon) return h;
  }
  throw InternalError(str("incomplete beta function does not converge for a ", a, ", b ", b));
}

long double log_density_times_x(long double a, long double b, long double x) {
  return std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) + a * std::log(x) +
         b * std::log1p(-x);
}

}  // namespace

Tails beta_tails(long double a, long double b, long double x) {
  if (x <= 0) return {0, 1};
  if (x >= 1) return {1, 0};
  const long double front = std::exp(log_density_times_x(a, b, x));
  if (x < (a + 1) / (a + b + 2)) {
    const long double lower = front * beta_fraction(a, b, x) / a;
    return {lower, 1 - lower};
  }
  const long double upper = front * beta_fraction(b, a, 1 - x) / b;
  return {1 - upper, upper};
}

double beta_quantile(double a, double b, double p, bool upper) {
  require(a > 0 && b > 0 && p > 0 && p < 1, "beta_quantile: arguments out of range");
  // Newton's method inside a shrinking bracket; a step that leaves it becomes a bisection.
  long double lo = 0, hi = 1, x = static_cast<long double>(a) / (static_cast<long double>(a) + b);
  for (int i = 0; i < 300; ++i) {
    const Tails tails = beta_tails(a, b, x);
    const long double miss = upper ? p - tails.upper : tails.lower - p;
    (miss > 0 ? hi : lo) = x;
    if (miss == 0) break;
    const long double density = std::exp(log_density_times_x(a, b, x)) / (x * (1 - x));
    long double next = x - miss / density;
    if (!(next > lo && next < hi)) next = lo > 0 ? std::sqrt(lo * hi) : hi / 16;
    if (next <= lo || next >= hi) next = (lo + hi) / 2;
    const long double moved = std::fabs(next - x);
    x = next;
    if (moved <= 1e-16L * x || hi - lo <= 1e-17L * x) break;
  }
  return static_cast<double>(x);
}

double normal_cdf(double z) { return 0.5 * std::erfc(-z / std::sqrt(2.0)); }

namespace {

double ratio(const std::array<double, 8>& top, const std::array<double, 8>& bottom, double r) {
  double t = 0, b = 0;
  for (std::size_t i = 8; i-- > 0;) {
    t = t * r + top[i];
    b = b * r + bottom[i];
  }
  return t / b;
}

}  // namespace

double normal_quantile(double p) {
  if (std::isnan(p) || p < 0 || p > 1) return std::numeric_limits<double>::quiet_NaN();
  if (p == 0 || p == 1) return p == 0 ? -HUGE_VAL : HUGE_VAL;
  const double q = p - 0.5;
  if (std::fabs(q) <= 0.425) {
    return q * ratio({3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3,
                      1.3731693765509461125e4, 4.5921953931549871457e4, 6.7265770927008700853e4,
                      3.3430575583588128105e4, 2.5090809287301226727e3},
                     {1.0, 4.2313330701600911252e1, 6.8718700749205790830e2,
                      5.3941960214247511077e3, 2.1213794301586595867e4, 3.9307895800092710610e4,
                      2.8729085735721942674e4, 5.2264952788528545610e3},
                     0.180625 - q * q);
  }
  const double r = std::sqrt(-std::log(q < 0 ? p : 1 - p));
  const double z =
      r <= 5
          ? ratio({1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0,
                   3.64784832476320460504e0, 1.27045825245236838258e0, 2.41780725177450611770e-1,
                   2.27238449892691845833e-2, 7.74545014278341407640e-4},
                  {1.0, 2.05319162663775882187e0, 1.67638483018380384940e0,
                   6.89767334985100004550e-1, 1.48103976427480074590e-1, 1.51986665636164571966e-2,
                   5.47593808499534494600e-4, 1.05075007164441684324e-9},
                  r - 1.6)
          : ratio({6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0,
                   2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
                   2.71155556874348757815e-5, 2.01033439929228813265e-7},
                  {1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1,
                   1.48753612908506148525e-2, 7.86869131145613259100e-4, 1.84631831751005468180e-5,
                   1.42151175831644588870e-7, 2.04426310338993978564e-15},
                  r - 5);
  return q < 0 ? -z : z;
}

}  // namespace plumbline
