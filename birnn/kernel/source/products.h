/* Products of matrices, in tiles whose sums stay in registers.
 *
 * Each output is the sum of chains of at most TERMS fmas, one k after the other, so that neither the
 * tile nor the number of threads changes a bit. Longer chains would round more: their error grows
 * with the root of their length.
 */
enum { TERMS = 64 };

#if LANES == 16 || defined(__ARM_NEON)
#define MANY_REGISTERS 1 /* 32 of them */
#else
#define MANY_REGISTERS 0
#endif

/* sum[r][c] += sum over k of a[r, k] w[k, c] */
INLINE void accumulate(vec sum[][4], const int rows, const int cols, const float *a, isize row_step,
                       isize k_step, const float *w, isize w_step, isize count) {
    for (isize k = 0; k < count; k++, a += k_step, w += w_step) {
        vec x[12];
        UNROLL for (int r = 0; r < rows; r++) x[r] = all(a[r * row_step]);
        UNROLL for (int c = 0; c < cols; c++) {
            vec weight = load(w + c * LANES);
            IN_REGISTER(weight);
            UNROLL for (int r = 0; r < rows; r++) sum[r][c] = fma_(x[r], weight, sum[r][c]);
        }
    }
}

/* out = a w + from. Where `from` is larger than the terms of the sum, as a gradient that passes a
 * gate is, it has to be added last: each term would be rounded to its digits otherwise.
 *
 * A row of `a` has `parts` runs of `count` columns, `part_step` apart. `from` may be `out`, one row
 * for all (from_step 0), or NULL for zero. Columns come in panels of up to 4 vectors: panel p of
 * the weights has parts x count rows, one after the other; its columns of `from` and `out` begin at
 * p x panel_step. Where `w_step` is not 0, the weights are a plain matrix with rows of that width
 * instead. */
struct product {
    const float *a;
    isize row_step, k_step, parts, part_step, count;
    const float *w;
    isize w_step;
    const float *from;
    isize from_step;
    float *out;
    isize out_step;
};

INLINE void add_tile(const int rows, const int cols, vec sum[][4], const float *from,
                     isize from_step, float *out, isize out_step) {
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int c = 0; c < cols; c++) {
            if (from) sum[r][c] += load(from + r * from_step + c * LANES);
            store(out + r * out_step + c * LANES, sum[r][c]);
            sum[r][c] = all(0.0f);
        }
}

INLINE void tile(const int rows, const int cols, const struct product p, isize row) {
    vec sum[12][4];
    float *out = p.out + row * p.out_step;
    const float *a = p.a + row * p.row_step, *w = p.w;
    const float *from = p.from ? p.from + row * p.from_step : NULL;
    isize from_step = p.from_step;
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int c = 0; c < cols; c++) sum[r][c] = all(0.0f);
    for (isize part = 0; part < p.parts; part++, a += p.part_step)
        for (isize k = 0; k < p.count; k += TERMS) {
            isize count = least(p.count - k, TERMS);
            accumulate(sum, rows, cols, a + k * p.k_step, p.row_step, p.k_step, w, p.w_step, count);
            w += count * p.w_step;
            add_tile(rows, cols, sum, from, from_step, out, p.out_step);
            from = out, from_step = p.out_step;
        }
}

/* All rows of one panel, in tiles that fill the registers */
#define TILES(rows, cols) for (; row + rows <= n; row += rows) tile(rows, cols, p, row);
static void panel4(const struct product *shared, isize n) {
    const struct product p = *shared;
    isize row = 0;
    if (MANY_REGISTERS) {
        for (; n - row >= 6 && n - row != 8; row += 6) tile(6, 4, p, row);
        TILES(4, 4)
    }
    TILES(3, 4) TILES(2, 4) TILES(1, 4)
}
static void panel3(const struct product *shared, isize n) {
    const struct product p = *shared;
    isize row = 0;
    if (MANY_REGISTERS) { TILES(8, 3) }
    TILES(4, 3) TILES(2, 3) TILES(1, 3)
}
static void panel2(const struct product *shared, isize n) {
    const struct product p = *shared;
    isize row = 0;
    if (MANY_REGISTERS) { TILES(12, 2) }
    TILES(6, 2) TILES(3, 2) TILES(1, 2)
}
static void panel1(const struct product *shared, isize n) {
    const struct product p = *shared;
    isize row = 0;
    if (MANY_REGISTERS) { TILES(12, 1) }
    TILES(8, 1) TILES(4, 1) TILES(1, 1)
}
static void (*const panels[])(const struct product *, isize) = {panel1, panel2, panel3, panel4};

/* One panel of packed weights */
static void multiply_panel(struct product p, isize rows, isize vectors) {
    p.w_step = vectors * LANES;
    panels[vectors - 1](&p, rows);
}

/* All columns, a whole number of vectors of them */
static void multiply(struct product p, isize rows, isize cols) {
    int packed = p.w_step == 0;
    for (isize col = 0; col < cols; col += 4 * LANES) {
        isize vectors = least((cols - col) / LANES, 4);
        if (packed) p.w_step = vectors * LANES;
        panels[vectors - 1](&p, rows);
        p.out += vectors * LANES;
        if (p.from) p.from += vectors * LANES;
        p.w += packed ? p.parts * p.count * p.w_step : vectors * LANES;
    }
}

/* The transpose of weights (columns, inputs) as panels: row k of a panel is input k, 0 in columns
 * that are only there to fill a vector. Returns where the next matrix can go. */
static float *pack_columns(const float *weights, isize columns, isize inputs, float *to) {
    for (isize first = 0; first < padded(columns); first += 4 * LANES) {
        isize width = least(padded(columns) - first, 4 * LANES);
        for (isize c = 0; c < width; c++)
            for (isize k = 0; k < inputs; k++)
                to[k * width + c] =
                    first + c < columns ? weights[(first + c) * inputs + k] : 0.0f;
        to += inputs * width;
    }
    return to;
}

/* Weights (rows, columns) as they are, as panels; `order` says which block of `count` rows is
 * next */
static float *pack_rows(const float *weights, isize columns, int blocks, const int *order,
                        isize count, float *to) {
    for (isize first = 0; first < padded(columns); first += 4 * LANES) {
        isize width = least(padded(columns) - first, 4 * LANES);
        for (int block = 0; block < blocks; block++)
            for (isize k = 0; k < count; k++, to += width) {
                const float *from = weights + (order[block] * count + k) * columns + first;
                for (isize c = 0; c < width; c++) to[c] = first + c < columns ? from[c] : 0.0f;
            }
    }
    return to;
}
