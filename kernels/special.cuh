// exp, exp(-x^2/2), log and erfcx without branches, so that loops over channels vectorise.
//
// Errors are relative, measured by tests/special_functions.rs:
//   exponential      f32 2e-7   f64 3e-16      arguments up to 88 / 700; below -87 / -700 it stays tiny
//   gaussian         f32 2e-7   f64 3e-16      each times 1 + x^2 / 2: the rounding of the exponent; beyond 13 tiny
//   logarithm        f32 2e-7   f64 3e-16      positive normal arguments
//   scaled_erfc      f32 4e-7   f64 2e-15      0 <= z <= 1e18
#pragma once
#include "portable.cuh"

template <class To, class From> XRF_FN To bits_of(From x) {
    To y;
    static_assert(sizeof(To) == sizeof(From), "same width");
    memcpy(&y, &x, sizeof y);
    return y;
}

// The nearest whole number, the even one of two, of |x| <= 2^62. Adding 1.5 * 2^52 leaves it in the low bits, of x / 2^32
// and of what remains.
XRF_FN int64_t nearest(double x) {
#if defined(XRF_DEVICE)
    return llrint(x);
#else
    const double magic = 6755399441055744.0, two_32 = 4294967296.0;
    const double high = x / two_32 + magic, low = x - (high - magic) * two_32 + magic;
    const uint64_t zero = bits_of<uint64_t>(magic);
    return (int64_t)(((bits_of<uint64_t>(high) - zero) << 32) + (bits_of<uint64_t>(low) - zero));
#endif
}

// exp(x) = 2^n exp(r), n = round(x / ln 2), |r| <= ln2 / 2; ln 2 in two parts (Cody & Waite 1980).
// Adding 1.5 * 2^mantissa rounds to an integer and leaves it in the low bits. A GPU has 2^x: exp(x) = 2^z 2^r, z = x / ln 2
// rounded and r what the rounding dropped, 2^r = 1 + r ln 2.
#if defined(XRF_DEVICE)
XRF_FN float exponential(float x) {
    x = x < -87.0f ? -87.0f : x;
    const float z = x * 1.44269502f;
    const float r = fmaf(x, 1.92596303e-8f, fmaf(x, 1.44269502f, -z));
    const float y = power_of_two(z);
    return fmaf(y, r * 0.693147181f, y);
}
#else
XRF_FN float exponential(float x) {
    x = x < -87.0f ? -87.0f : x;
    const float z = x * 1.44269504f + 12582912.0f;
    const float n = z - 12582912.0f;
    float r = x - n * 0.693145752f;
    r = r - n * 1.42860677e-6f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + (r + 1.0f);
    return bits_of<float>(bits_of<int32_t>(p) + (bits_of<int32_t>(z) << 23));
}
#endif

XRF_FN double exponential(double x) {
    x = x < -700.0 ? -700.0 : x;
    const double z = x * 1.4426950408889634 + 6755399441055744.0;
    const double n = z - 6755399441055744.0;
    double r = x - n * 0.6931471803691238;
    r = r - n * 1.9082149292705877e-10;
    double p = 1.0 / 6227020800.0;  // Taylor to r^13
    p = p * r + 1.0 / 479001600.0;
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    return bits_of<double>(bits_of<int64_t>(p) + (bits_of<int64_t>(z) << 52));
}

// exp(-x^2 / 2) = 2^-f = 2^-n 2^r, f = x^2 / (2 ln 2), n = round(f), r = n - f; 2^r = 1 + r P(r) by a minimax
// polynomial. Below the line of f32's smallest numbers it stays tiny.
#if defined(XRF_DEVICE)
XRF_FN float gaussian(float x) { return power_of_two(x * x * -0.721347520f); }
#else
XRF_FN float gaussian(float x) {
    float f = x * x * 0.721347520f;
    f = f < 126.0f ? f : 126.0f;
    const float z = 12582912.0f - f;
    const float r = (12582912.0f - z) - f;
    float p = 1.3264727e-3f;
    p = p * r + 9.6715127e-3f;
    p = p * r + 5.5507337e-2f;
    p = p * r + 2.4022242e-1f;
    p = p * r + 6.9314698e-1f;
    p = p * r + 1.0f;
    return bits_of<float>(bits_of<int32_t>(p) + (bits_of<int32_t>(z) << 23));
}
#endif

XRF_FN double gaussian(double x) { return exponential(-0.5 * x * x); }

// log(2^n m) = n ln 2 + 2 atanh(s), s = (m - 1) / (m + 1), m in [1/sqrt 2, sqrt 2);
// 2 atanh(s) = 2 s + s^3 P(s^2).
XRF_FN float logarithm(float x) {
    const int32_t i = bits_of<int32_t>(x) - 0x3f3504f3;
    const float n = (float)(i >> 23);
    const float m = bits_of<float>((i & 0x007fffff) + 0x3f3504f3);
    const float s = (m - 1.0f) / (m + 1.0f), u = s * s;
    const float p = (0.2958027715f * u + 0.3998877334f) * u + 0.6666668506f;
    return n * 0.693147181f + (2.0f * s + s * u * p);
}

XRF_FN double logarithm(double x) {
    const int64_t i = bits_of<int64_t>(x) - 0x3fe6a09e667f3bcd;
    const double n = (double)(int32_t)(i >> 52);
    const double m = bits_of<double>((i & 0x000fffffffffffff) + 0x3fe6a09e667f3bcd);
    const double s = (m - 1.0) / (m + 1.0), u = s * s;
    double p = 0.13087071580067381136;
    p = p * u + 0.13268730539100896293;
    p = p * u + 0.15386241293734355895;
    p = p * u + 0.18181795610879043429;
    p = p * u + 0.22222222391987728931;
    p = p * u + 0.28571428570802403848;
    p = p * u + 0.40000000000000878956;
    p = p * u + 0.66666666666666666464;
    return n * 0.6931471803691238 + (n * 1.9082149292705877e-10 + (2.0 * s + s * u * p));
}

// x / 2^k with the whole k that brings it near y, to between 2/3 and 3/2 of it; both positive and normal. The bits of a
// number are its logarithm, straight between powers of 2.
XRF_FN float brought_near(float x, float y, float &k) {
    const int32_t i = (bits_of<int32_t>(x) - bits_of<int32_t>(y) + 0x400000) >> 23;
    k = (float)i;
    return bits_of<float>(bits_of<uint32_t>(x) - ((uint32_t)i << 23));
}

XRF_FN double brought_near(double x, double y, double &k) {
    const int64_t i = (bits_of<int64_t>(x) - bits_of<int64_t>(y) + 0x8000000000000) >> 52;
    k = (double)(int32_t)i;
    return bits_of<double>(bits_of<uint64_t>(x) - ((uint64_t)i << 52));
}

XRF_FN double radians_per_degree() { return 0.01745329251994329577; }

// Sine and cosine of an angle [degree]: whole quarter turns and a rest of up to 45 degrees, both exact, then Taylor.
struct Turn {
    double sine, cosine;
};

XRF_FN Turn turn(double degrees) {
    const double z = degrees * (1.0 / 90.0) + 6755399441055744.0;
    const double r = (degrees - 90.0 * (z - 6755399441055744.0)) * radians_per_degree(), u = r * r;
    double s = -1.0 / 1307674368000.0;
    s = s * u + 1.0 / 6227020800.0;
    s = s * u - 1.0 / 39916800.0;
    s = s * u + 1.0 / 362880.0;
    s = s * u - 1.0 / 5040.0;
    s = s * u + 1.0 / 120.0;
    s = s * u - 1.0 / 6.0;
    s = r + r * u * s;
    double c = 1.0 / 20922789888000.0;
    c = c * u - 1.0 / 87178291200.0;
    c = c * u + 1.0 / 479001600.0;
    c = c * u - 1.0 / 3628800.0;
    c = c * u + 1.0 / 40320.0;
    c = c * u - 1.0 / 720.0;
    c = c * u + 1.0 / 24.0;
    c = c * u - 0.5;
    c = c * u + 1.0;
    const int quarter = (int)(bits_of<int64_t>(z) & 3);
    const double sine = quarter & 1 ? c : s, cosine = quarter & 1 ? s : c;
    return {quarter & 2 ? -sine : sine, (quarter + 1) & 2 ? -cosine : cosine};
}

// erfcx(z) = exp(z^2) erfc(z) for z >= 0 (Shepherd & Laframboise, Math. Comp. 36 (1981) 249): a polynomial in
// t = (z - K) / (z + K), which maps [0, inf) to [-1, 1), over 1 + 2 z. Chebyshev fits to 7e-8 and 6e-18.
XRF_FN float scaled_erfc(float z) {
    const float c[] = {
        1.253008058f, -0.1356202139f, -0.04756225171f, 0.1296271749f, -0.1192745186f,
        0.06841075952f, -0.02376569217f, 0.002284952149f, 0.001877494648f, -0.000513159436f,
        -9.351062915e-5f};
    const float a = z + 3.0f, b = 1.0f + 2.0f * z;
    const float inverse = 1.0f / (a * b);
    const float t = (z - 3.0f) * (b * inverse);
    float y = c[10];
    XRF_UNROLL for (int k = 9; k >= 0; --k) y = y * t + c[k];
    return y * (a * inverse);
}

XRF_FN double scaled_erfc(double z) {
    const double c[] = {
        1.2375126308378275819, -0.14024059858554696191, 0.0035854154854637749642,
        0.082276738490145159127, -0.10880393014171785778, 0.092304321160378767003,
        -0.058693398590212367363, 0.028362277418940666694, -0.00974657955250424107,
        0.0017556258530017114348, 0.00029371363428499373759, -0.00029015408097946112559,
        0.000051649211390768987479, 0.000022384240314030880708, -0.000011444412439365663385,
        -9.7356190114840085838e-7, 1.7520579705369148615e-6, -5.7215973018270448393e-8,
        -2.5910696923893262008e-7, 2.3261913631655786053e-8, 3.8965452904647002577e-8,
        -3.7435681896403532241e-9, -5.2842871359456409812e-9, 3.110311016770023245e-10,
        4.434959367527570209e-10};
    const double t = (z - 3.75) / (z + 3.75);
    double y = c[24];
    XRF_UNROLL for (int k = 23; k >= 0; --k) y = y * t + c[k];
    return y / (1.0 + 2.0 * z);
}
