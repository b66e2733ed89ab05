/* What stands before and after the recurrence: embedding, dropout, a linear layer, and the mean and
 * maximum over the steps. Rows are independent, or are added in one order. */

enum { ROWS_A_PRODUCT = 128, ROWS_A_SHARE = 1024, MOST_SHARES = 16, ELEMENTS_AN_ITEM = 1 << 16 };

/* ---- linear: (rows, inputs) -> (rows, outputs) ---- */

struct linear {
    isize rows, inputs, outputs;
    const float *values;  /* (rows, inputs) */
    const float *weights; /* (outputs, inputs) */
    const float *bias;    /* (outputs,) */
    float *output;        /* (rows, outputs) */
    const float *output_grads;
    float *value_grads;   /* or NULL */
    float *weight_grads, *bias_grads;
    int32_t threads, failed;
    float *panels, *shares; /* of the call itself */
    isize share_rows;
};

/* Rows of whole vectors into rows of any width */
static void narrow(const float *from, isize from_step, isize rows, isize width, float *to) {
    for (isize r = 0; r < rows; r++)
        copy_row(to + r * width, from + r * from_step, width);
}

static void linear_forward_rows(void *shared, isize item) {
    struct linear *l = shared;
    isize first = item * ROWS_A_PRODUCT, rows = least(l->rows - first, ROWS_A_PRODUCT);
    isize wide = padded(l->outputs);
    float *sums = floats(rows * wide);
    if (!sums) {
        l->failed = 1;
        return;
    }
    multiply((struct product){.a = l->values + first * l->inputs, .row_step = l->inputs,
                              .k_step = 1, .parts = 1, .count = l->inputs, .w = l->panels + wide,
                              .from = l->panels, .out = sums, .out_step = wide},
             rows, wide);
    narrow(sums, wide, rows, l->outputs, l->output + first * l->outputs);
    give_back(sums);
}

static int linear_forward(struct linear *l) {
    isize wide = padded(l->outputs);
    if (!(l->panels = floats(wide * (l->inputs + 1)))) return -1;
    for (isize c = 0; c < wide; c++) l->panels[c] = c < l->outputs ? l->bias[c] : 0.0f;
    pack_columns(l->weights, l->outputs, l->inputs, l->panels + wide);
    birnn_divide(linear_forward_rows, l, (l->rows + ROWS_A_PRODUCT - 1) / ROWS_A_PRODUCT,
                 l->threads);
    give_back(l->panels);
    return l->failed ? -1 : 0;
}

static isize share_floats(const struct linear *l) {
    return l->outputs * (padded(l->inputs) + 1);
}

/* The gradients by the values, and a share of those by the weights, of some rows */
static void linear_backward_rows(void *shared, isize item) {
    struct linear *l = shared;
    isize K = l->inputs, C = l->outputs, wide = padded(K);
    isize begin = item * l->share_rows, end = least(begin + l->share_rows, l->rows);
    float *dw = l->shares + item * share_floats(l), *db = dw + C * wide;
    float *x = floats(2 * ROWS_A_PRODUCT * wide), *dx = x + ROWS_A_PRODUCT * wide;
    if (!x) {
        l->failed = 1;
        return;
    }
    memset(dw, 0, sizeof(float) * (size_t)share_floats(l));
    for (isize first = begin; first < end; first += ROWS_A_PRODUCT) {
        isize rows = least(end - first, ROWS_A_PRODUCT);
        const float *dy = l->output_grads + first * C, *values = l->values + first * K;
        float *grads = l->value_grads ? l->value_grads + first * K : NULL;
        for (isize r = 0; wide > K && r < rows; r++)
            for (isize k = 0; k < wide; k += LANES)
                store(x + r * wide + k, load_some(values + r * K + k, K - k));
        multiply((struct product){.a = dy, .row_step = 1, .k_step = C, .parts = 1, .count = rows,
                                  .w = wide > K ? x : values, .w_step = wide, .from = dw,
                                  .from_step = wide, .out = dw, .out_step = wide},
                 C, wide);
        for (isize r = 0; r < rows; r++)
            for (isize c = 0; c < C; c++) db[c] += dy[r * C + c];
        if (!grads) continue;
        multiply((struct product){.a = dy, .row_step = C, .k_step = 1, .parts = 1, .count = C,
                                  .w = l->panels, .out = wide > K ? dx : grads, .out_step = wide},
                 rows, wide);
        if (wide > K) narrow(dx, wide, rows, K, grads);
    }
    give_back(x);
}

static int linear_backward(struct linear *l) {
    static const int order[1] = {0};
    isize K = l->inputs, C = l->outputs, wide = padded(K);
    l->share_rows = (l->rows + MOST_SHARES - 1) / MOST_SHARES;
    if (l->share_rows < ROWS_A_SHARE) l->share_rows = ROWS_A_SHARE;
    isize items = (l->rows + l->share_rows - 1) / l->share_rows;
    l->panels = floats(C * wide), l->shares = floats(items * share_floats(l));
    if (l->panels && l->shares) {
        pack_rows(l->weights, K, 1, order, C, l->panels);
        birnn_divide(linear_backward_rows, l, items, l->threads);
        memset(l->weight_grads, 0, sizeof(float) * (size_t)(C * K));
        memset(l->bias_grads, 0, sizeof(float) * (size_t)C);
        for (isize item = 0; item < items; item++) {
            const float *dw = l->shares + item * share_floats(l), *db = dw + C * wide;
            for (isize c = 0; c < C; c++) {
                for (isize k = 0; k < K; k++) l->weight_grads[c * K + k] += dw[c * wide + k];
                l->bias_grads[c] += db[c];
            }
        }
    } else l->failed = 1;
    give_back(l->panels), give_back(l->shares);
    return l->failed ? -1 : 0;
}

/* ---- mean and maximum over the steps: (batch, steps, width) -> (batch, width) ---- */

struct pool {
    isize batch, steps, width;
    const int64_t *lengths;
    const float *values;
    float *mean, *most;      /* (batch, width), or NULL */
    int32_t *at;             /* (batch, width): at which step the maximum is */
    const float *mean_grads, *most_grads;
    float *value_grads;
    int32_t threads;
};

static void pool_sequence(void *shared, isize b) {
    const struct pool *p = shared;
    isize W = p->width, length = p->lengths[b];
    for (isize k = 0; k < W; k += LANES) {
        const float *from = p->values + b * p->steps * W + k;
        vec sum = load_some(from, W - k), most = sum;
        ints at = {0};
        for (isize t = 1; t < length; t++) {
            vec x = load_some(from + t * W, W - k);
            ints greater = (x > most) | (x != x); /* a NaN stays */
            sum += x, most = choose(greater, x, most);
            at = ((int32_t)t & greater) | (at & ~greater);
        }
        if (p->mean) store_some(p->mean + b * W + k, sum / all((float)length), W - k);
        if (!p->most) continue;
        store_some(p->most + b * W + k, most, W - k);
        memcpy(p->at + b * W + k, &at, 4 * (size_t)least(LANES, W - k));
    }
}

static void pool_sequence_back(void *shared, isize b) {
    const struct pool *p = shared;
    isize W = p->width, length = p->lengths[b];
    float *to = p->value_grads + b * p->steps * W;
    memset(to, 0, sizeof(float) * (size_t)(p->steps * W));
    for (isize k = 0; p->mean_grads && k < W; k += LANES) {
        vec share = load_some(p->mean_grads + b * W + k, W - k) / all((float)length);
        for (isize t = 0; t < length; t++) store_some(to + t * W + k, share, W - k);
    }
    for (isize k = 0; p->most_grads && k < W; k++)
        to[p->at[b * W + k] * W + k] += p->most_grads[b * W + k];
}

/* ---- embedding: the gradients of rows that occur more than once are added in order ---- */

static void embedding_backward(const float *grads, const int64_t *rows, isize count, isize width,
                               float *to) {
    for (isize n = 0; n < count; n++) {
        float *row = to + rows[n] * width;
        for (isize k = 0; k < width; k++) row[k] += grads[n * width + k];
    }
}

/* ---- dropout: whether an element stays depends on its place and the seed alone ---- */

struct dropout {
    isize count;
    const float *values;
    float *output;
    uint64_t seed;
    uint32_t below; /* an element goes whose draw, of 32 bits, is below this */
    float scale;
    int32_t threads;
};

INLINE uint32_t mixed(uint32_t x) { /* Wellons's lowbias32: each bit changes half of the others */
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    return x ^ (x >> 16);
}

static void drop(void *shared, isize item) {
    const struct dropout *d = shared;
    isize begin = item * ELEMENTS_AN_ITEM, end = least(begin + ELEMENTS_AN_ITEM, d->count);
    uint32_t low = (uint32_t)d->seed, high = mixed((uint32_t)(d->seed >> 32) + (uint32_t)item);
    for (isize k = begin; k < end; k++) {
        uint32_t draw = mixed(mixed((uint32_t)k ^ low) + high);
        d->output[k] = draw < d->below ? 0.0f : d->values[k] * d->scale;
    }
}

/* ---- sequences that lie end to end, side by side: (batch, steps, width), and zero or `padding`
 * past the end of each ---- */

struct gather {
    isize batch, steps, width;
    const int64_t *starts, *lengths; /* of each sequence: its first row, and how many */
    const float *values;
    const int32_t *wholes; /* instead of values, of width 1 */
    void *output;          /* float, or int64_t for whole numbers */
    int64_t padding;
};

static void gather(const struct gather *g) {
    isize W = g->width;
    for (isize b = 0; b < g->batch; b++) {
        isize start = g->starts[b], real = g->lengths[b], past = g->steps - real;
        if (g->values) {
            float *to = (float *)g->output + b * g->steps * W;
            memcpy(to, g->values + start * W, sizeof(float) * (size_t)(real * W));
            memset(to + real * W, 0, sizeof(float) * (size_t)(past * W));
        } else {
            int64_t *to = (int64_t *)g->output + b * g->steps;
            for (isize t = 0; t < real; t++) to[t] = g->wholes[start + t];
            for (isize t = real; t < g->steps; t++) to[t] = g->padding;
        }
    }
}
