/* Convolutions of 3x3 kernels and stride 1 by Winograd's F(4x4, 3x3): 36 products where the definition has 144.

   Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016): a tile of 4x4 results is
   A' [(G g G') * (B' d B)] A, summed over input channels, with d the 6x6 pixels that it sees and * element by
   element. A few tiles at a time stay in a core's caches from the pixels to the results. Images are (B, H, W, C),
   C and K multiples of WIDTH; transformed kernels (36, C, K). Threads change no sum. */

#include <stdlib.h>
#include <string.h>

#ifndef WIDTH
#define WIDTH 8
#endif
typedef int Mask __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));
typedef float Vector __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));

enum { POINTS = 36, TAPS = 9, TILES = 24, ROWS = 6, GAP = 16 };

typedef struct {
    long batch, height, width, channels;  /* of the image */
    long out_height, out_width, out_channels;
    long pad_rows, pad_columns;
} Shape;

static inline long smaller(long a, long b) { return a < b ? a : b; }

/* B' d for six values in a row. */
static inline __attribute__((always_inline)) void transform(const Vector d[6], Vector t[6]) {
    Vector a = d[4] - 4 * d[2], b = d[3] - 4 * d[1], c = d[4] - d[2], e = 2 * (d[3] - d[1]);
    t[0] = 4 * d[0] - 5 * d[2] + d[4];
    t[1] = a + b;
    t[2] = a - b;
    t[3] = c + e;
    t[4] = c - e;
    t[5] = 4 * d[1] - 5 * d[3] + d[5];
}

/* A' m for six products in a row. */
static inline __attribute__((always_inline)) void collect(const Vector m[6], Vector y[4]) {
    Vector sum = m[1] + m[2], difference = m[1] - m[2], sum2 = m[3] + m[4], difference2 = m[3] - m[4];
    y[0] = m[0] + sum + sum2;
    y[1] = difference + 2 * difference2;
    y[2] = sum + 4 * sum2;
    y[3] = difference + 8 * difference2 + m[5];
}

/* A y for four gradients in a row. */
static inline __attribute__((always_inline)) void spread(const Vector y[4], Vector t[6]) {
    Vector even = y[0] + y[2], odd = y[1] + y[3], even2 = y[0] + 4 * y[2], odd2 = 2 * y[1] + 8 * y[3];
    t[0] = y[0];
    t[1] = even + odd;
    t[2] = even - odd;
    t[3] = even2 + odd2;
    t[4] = even2 - odd2;
    t[5] = y[3];
}

/* Where tile number ``tile`` of the batch lies: its image and the row and column of its first result. */
static inline void place(const Shape *s, long tile, long *image, long *row, long *column) {
    long across = (s->out_width + 3) / 4, down = (s->out_height + 3) / 4;
    *image = tile / (across * down);
    *row = tile / across % down * 4;
    *column = tile % across * 4;
}

/* The square of pixels that begins at (row, column) of an image, and how far its lines are apart: where it lies, or, if
   it leaves the image, a copy in ``patch`` with zeros there. */
static const float *square(const float *images, long image, long row, long column, long height, long width,
                           long channels, long side, float *patch, long *line) {
    const float *from = images + ((image * height + row) * width + column) * channels;
    *line = width * channels;
    if (row >= 0 && column >= 0 && row + side <= height && column + side <= width) return from;
    for (long i = 0; i < side; i++)
        for (long j = 0; j < side; j++) {
            int inside = row + i >= 0 && row + i < height && column + j >= 0 && column + j < width;
            float *to = patch + (i * side + j) * channels;
            if (inside) memcpy(to, from + i * *line + j * channels, channels * sizeof(float));
            else memset(to, 0, channels * sizeof(float));
        }
    *line = side * channels;
    return patch;
}

/* The pixels that some tiles see, transformed: (36, count, channels). */
static void see(const Shape *s, const float *x, long first, long count, float *patch, float *seen) {
    long channels = s->channels, next = TILES * channels + GAP;
    for (long t = 0; t < count; t++) {
        long image, row, column, line;
        place(s, first + t, &image, &row, &column);
        row -= s->pad_rows, column -= s->pad_columns;
        const float *from = square(x, image, row, column, s->height, s->width, channels, 6, patch, &line);
        for (long c = 0; c < channels; c += WIDTH) {
            Vector between[6][6], d[6], v[6];
            for (int j = 0; j < 6; j++) {
                for (int i = 0; i < 6; i++) d[i] = *(const Vector *)(from + i * line + j * channels + c);
                transform(d, v);
                for (int i = 0; i < 6; i++) between[i][j] = v[i];
            }
            float *to = seen + t * channels + c;
            for (int i = 0; i < 6; i++) {
                transform(between[i], v);
                for (int j = 0; j < 6; j++) *(Vector *)(to + (6 * i + j) * next) = v[j];
            }
        }
    }
}

/* One product of the matrices of a point: ROWS tiles by VECTORS vectors of output channels. */
#define PRODUCT(NAME, VECTORS)                                                                                         \
    static inline void NAME(const float *seen, const float *kernel, float *out, long channels, long out_channels) {    \
        Vector sums[ROWS][VECTORS];                                                                                    \
        for (int i = 0; i < ROWS; i++)                                                                                 \
            for (int k = 0; k < VECTORS; k++) sums[i][k] = (Vector){0};                                                \
        for (long c = 0; c < channels; c++) {                                                                          \
            Vector weights[VECTORS];                                                                                   \
            for (int k = 0; k < VECTORS; k++) weights[k] = *(const Vector *)(kernel + c * out_channels + k * WIDTH);   \
            for (int i = 0; i < ROWS; i++)                                                                             \
                for (int k = 0; k < VECTORS; k++) sums[i][k] += seen[i * channels + c] * weights[k];                   \
        }                                                                                                              \
        for (int i = 0; i < ROWS; i++)                                                                                 \
            for (int k = 0; k < VECTORS; k++) *(Vector *)(out + i * out_channels + k * WIDTH) = sums[i][k];            \
    }
PRODUCT(product_of_two, 2)
PRODUCT(product_of_one, 1)

/* One product of matrices for each of the 36 points: (count, C) by (C, K). */
static void multiply(const Shape *s, const float *seen, const float *kernel, long count, float *products) {
    long channels = s->channels, outs = s->out_channels;
    for (long point = 0; point < POINTS; point++) {
        const float *from = seen + point * (TILES * channels + GAP), *weights = kernel + point * channels * outs;
        float *to = products + point * (TILES * outs + GAP);
        for (long k = 0; k < outs; k += 2 * WIDTH)
            for (long t = 0; t < count; t += ROWS) {
                const float *tiles = from + t * channels;
                float *out = to + t * outs + k;
                if (k + 2 * WIDTH <= outs) product_of_two(tiles, weights + k, out, channels, outs);
                else product_of_one(tiles, weights + k, out, channels, outs);
            }
    }
}

/* From products to results: collected, the bias added, negative ones dropped if there is a ReLU. */
static void finish(const Shape *s, const float *products, const float *bias, int relu, long first, long count,
                   float *y) {
    long outs = s->out_channels, next = TILES * outs + GAP;
    for (long t = 0; t < count; t++) {
        long image, row, column;
        place(s, first + t, &image, &row, &column);
        long rows = smaller(4, s->out_height - row), columns = smaller(4, s->out_width - column);
        float *tile = y + ((image * s->out_height + row) * s->out_width + column) * outs;
        for (long k = 0; k < outs; k += WIDTH) {
            const float *from = products + t * outs + k;
            Vector between[4][6], m[6], v[4], shift = bias ? *(const Vector *)(bias + k) : (Vector){0};
            for (int j = 0; j < 6; j++) {
                for (int i = 0; i < 6; i++) m[i] = *(const Vector *)(from + (6 * i + j) * next);
                collect(m, v);
                for (int i = 0; i < 4; i++) between[i][j] = v[i];
            }
            for (int i = 0; i < rows; i++) {
                collect(between[i], v);
                for (int j = 0; j < columns; j++) {
                    Vector value = v[j] + shift;
                    if (relu) value = (Vector)((Mask)value & ~(Mask)(value <= 0));  /* NaN stays NaN */
                    *(Vector *)(tile + (i * s->out_width + j) * outs + k) = value;
                }
            }
        }
    }
}

/* The gradients of some tiles' results, transformed: (36, count, out_channels). */
static void trace(const Shape *s, const float *gradient, long first, long count, float *patch, float *traced) {
    long outs = s->out_channels, next = TILES * outs + GAP;
    for (long t = 0; t < count; t++) {
        long image, row, column, line;
        place(s, first + t, &image, &row, &column);
        const float *from = square(gradient, image, row, column, s->out_height, s->out_width, outs, 4, patch, &line);
        for (long k = 0; k < outs; k += WIDTH) {
            Vector between[6][4], d[4], v[6];
            for (int j = 0; j < 4; j++) {
                for (int i = 0; i < 4; i++) d[i] = *(const Vector *)(from + i * line + j * outs + k);
                spread(d, v);
                for (int i = 0; i < 6; i++) between[i][j] = v[i];
            }
            float *to = traced + t * outs + k;
            for (int i = 0; i < 6; i++) {
                spread(between[i], v);
                for (int j = 0; j < 6; j++) *(Vector *)(to + (6 * i + j) * next) = v[j];
            }
        }
    }
}

/* sums (36, C, K) += seen' traced, over the tiles. */
#define OUTER(NAME, LINES, VECTORS)                                                                                    \
    static inline void NAME(const float *seen, const float *traced, float *sums, long channels, long outs,             \
                            long count) {                                                                              \
        Vector block[LINES][VECTORS];                                                                                  \
        for (int i = 0; i < LINES; i++)                                                                                \
            for (int k = 0; k < VECTORS; k++) block[i][k] = *(const Vector *)(sums + i * outs + k * WIDTH);            \
        for (long t = 0; t < count; t++) {                                                                             \
            Vector of_out[VECTORS];                                                                                    \
            for (int k = 0; k < VECTORS; k++) of_out[k] = *(const Vector *)(traced + t * outs + k * WIDTH);            \
            for (int i = 0; i < LINES; i++)                                                                            \
                for (int k = 0; k < VECTORS; k++) block[i][k] += seen[t * channels + i] * of_out[k];                   \
        }                                                                                                              \
        for (int i = 0; i < LINES; i++)                                                                                \
            for (int k = 0; k < VECTORS; k++) *(Vector *)(sums + i * outs + k * WIDTH) = block[i][k];                  \
    }
OUTER(outer_of_two, 4, 2)
OUTER(outer_of_one, 4, 1)

static void accumulate(const Shape *s, const float *seen, const float *traced, long count, float *sums) {
    long channels = s->channels, outs = s->out_channels;
    for (long point = 0; point < POINTS; point++) {
        const float *a = seen + point * (TILES * channels + GAP), *b = traced + point * (TILES * outs + GAP);
        float *to = sums + point * channels * outs;
        for (long c = 0; c < channels; c += 4)
            for (long k = 0; k < outs; k += 2 * WIDTH) {
                if (k + 2 * WIDTH <= outs) outer_of_two(a + c, b + k, to + c * outs + k, channels, outs, count);
                else outer_of_one(a + c, b + k, to + c * outs + k, channels, outs, count);
            }
    }
}

static float *numbers(long count) {
    float *memory = aligned_alloc(64, (count * sizeof(float) + 63) / 64 * 64);
    if (memory) memset(memory, 0, count * sizeof(float));
    return memory;
}

static long tiles_of(const Shape *s) { return s->batch * ((s->out_height + 3) / 4) * ((s->out_width + 3) / 4); }

/* 0, or 1 where there is no memory. */
int convolve(const Shape *s, const float *x, const float *kernel, const float *bias, int relu, float *y, int threads) {
    long tiles = tiles_of(s), blocks = (tiles + TILES - 1) / TILES;
    int failed = 0;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        float *patch = numbers(36 * s->channels), *seen = numbers(POINTS * (TILES * s->channels + GAP));
        float *products = numbers(POINTS * (TILES * s->out_channels + GAP));
        failed = !patch || !seen || !products;
#pragma omp for schedule(dynamic)
        for (long block = 0; block < blocks; block++) {
            if (failed) continue;
            long first = block * TILES, count = smaller(TILES, tiles - first);
            see(s, x, first, count, patch, seen);
            multiply(s, seen, kernel, count, products);
            finish(s, products, bias, relu, first, count, y);
        }
        free(patch), free(seen), free(products);
    }
    return failed;
}

/* ``sums`` (parts, 36, C, K), ``bias`` (parts, K) and ``weights`` (9, C, K) are zeros at first. Each part of the batch has
   an entry of its own, in an order that threads don't change; all are added up in the first, which ``back`` (36, 9) takes
   to the kernel's nine taps: here, since a library's product of matrices divides its sums among threads. Returns what
   ``convolve`` does. */
int weight_gradient(const Shape *s, const float *x, const float *gradient, const float *back, float *sums, float *bias,
                    float *weights, long parts, int threads) {
    long tiles = tiles_of(s), blocks = (tiles + TILES - 1) / TILES;
    long outs = s->out_channels, size = s->channels * outs;
    int failed = 0;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        float *patch = numbers(36 * (s->channels + outs)), *seen = numbers(POINTS * (TILES * s->channels + GAP));
        float *traced = numbers(POINTS * (TILES * outs + GAP));
        failed = !patch || !seen || !traced;
#pragma omp for schedule(dynamic)
        for (long part = 0; part < parts; part++) {
            if (failed) continue;
            float *mine = sums + part * POINTS * size;
            for (long block = part * blocks / parts; block < (part + 1) * blocks / parts; block++) {
                long first = block * TILES, count = smaller(TILES, tiles - first);
                see(s, x, first, count, patch, seen);
                trace(s, gradient, first, count, patch, traced);
                accumulate(s, seen, traced, count, mine);
                const float *all = traced + 7 * (TILES * outs + GAP);  /* the point 1, 1: a tile's plain sum */
                for (long t = 0; t < count; t++)
                    for (long k = 0; k < outs; k++) bias[part * outs + k] += all[t * outs + k];
            }
        }
        free(patch), free(seen), free(traced);
#pragma omp for
        for (long point = 0; point < POINTS; point++)
            for (long part = 1; part < parts; part++)
                for (long i = point * size; i < (point + 1) * size; i++) sums[i] += sums[part * POINTS * size + i];
#pragma omp for
        for (long tap = 0; tap < TAPS; tap++)
            for (long point = 0; point < POINTS; point++)
                for (long i = 0; i < size; i++)
                    weights[tap * size + i] += back[point * TAPS + tap] * sums[point * size + i];
    }
    for (long part = 1; part < parts; part++)
        for (long k = 0; k < outs; k++) bias[k] += bias[part * outs + k];
    return failed;
}
