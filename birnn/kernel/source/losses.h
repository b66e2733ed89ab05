/* Softmax, cross entropy and Adam. */

enum { ROWS_A_LOSS = 256, SQUARES_A_SUM = 4096, CHAINS = 16 };

/* LANES rows at once, a row in each lane; logits[c] holds class c of all of them. Turns logits into
 * e^(logit - largest); returns their sum. */
INLINE vec exponentials(vec *logits, isize classes, vec *largest, ints *best) {
    vec top = logits[0], total = all(0.0f);
    ints at = {0};
    for (isize c = 1; c < classes; c++) {
        ints greater = logits[c] > top;
        top = choose(greater, logits[c], top);
        at = ((int32_t)c & greater) | (at & ~greater);
    }
    for (isize c = 0; c < classes; c++) logits[c] = exp_(logits[c] - top), total += logits[c];
    *largest = top, *best = at;
    return total;
}

static void take_rows(const float *from, isize classes, isize rows, vec *to) {
    for (isize c = 0; c < classes; c++) {
        vec x = all(0.0f);
        for (isize r = 0; r < rows; r++) x[r] = from[r * classes + c];
        to[c] = x;
    }
}
static void give_rows(const vec *from, isize classes, isize rows, float *to) {
    for (isize c = 0; c < classes; c++)
        for (isize r = 0; r < rows; r++) to[r * classes + c] = from[c][r];
}

struct loss {
    isize rows, classes;
    const float *logits;        /* (rows, classes) */
    const int64_t *labels;      /* (rows,); what is below 0 counts for nothing */
    const float *class_weights; /* (classes,), or NULL */
    const float *scales;        /* (rows,): what a row's loss is multiplied with in the total */
    float gamma;                /* of the focal loss */
    float *output;              /* (rows, classes): gradients of the total, or probabilities */
    float *losses;              /* (rows,), not scaled */
    double *totals;             /* (items, 4): scaled losses, losses, right ones, labels */
    int32_t threads, failed;
};

static void softmax_rows(void *shared, isize item) {
    struct loss *l = shared;
    isize C = l->classes, end = least((item + 1) * ROWS_A_LOSS, l->rows);
    vec *logits = space(C * (isize)sizeof(vec)), largest;
    if (!logits) {
        l->failed = 1;
        return;
    }
    ints best;
    for (isize first = item * ROWS_A_LOSS; first < end; first += LANES) {
        isize rows = least(end - first, LANES);
        take_rows(l->logits + first * C, C, rows, logits);
        vec total = exponentials(logits, C, &largest, &best);
        for (isize c = 0; c < C; c++) logits[c] /= total;
        give_rows(logits, C, rows, l->output + first * C);
    }
    give_back(logits);
}

/* With z the logits of a row, p their softmax, y its label: L = -w log p_y (1 - p_y)^gamma, and
 * dL/dz_c = w (p_c - [c = y]) ((1 - p_y)^gamma - gamma log p_y p_y (1 - p_y)^(gamma - 1)) */
static void loss_rows(void *shared, isize item) {
    struct loss *l = shared;
    isize C = l->classes, end = least((item + 1) * ROWS_A_LOSS, l->rows);
    double *totals = l->totals + 4 * item;
    vec *e = space(C * (isize)sizeof(vec)), largest;
    if (!e) {
        l->failed = 1;
        return;
    }
    for (isize first = item * ROWS_A_LOSS; first < end; first += LANES) {
        isize rows = least(end - first, LANES);
        ints best, label = {0};
        vec own = all(0.0f), weight = all(0.0f), scale = all(0.0f), others = all(0.0f);
        take_rows(l->logits + first * C, C, rows, e);
        for (isize r = 0; r < rows; r++) {
            int64_t y = l->labels[first + r];
            if (y < 0) continue;
            label[r] = (int32_t)y, own[r] = e[y][r];
            weight[r] = l->class_weights ? l->class_weights[y] : 1.0f;
            scale[r] = l->scales[first + r];
        }
        vec total = exponentials(e, C, &largest, &best);
        vec loss = log_(total) - (own - largest), factor = weight;
        if (l->gamma > 0) {
            for (isize c = 0; c < C; c++)
                others += choose(label == (int32_t)c, all(0.0f), e[c]);
            vec doubt = at_least(others / total, 1.17549435e-38f);
            vec power = exp_(log_(doubt) * l->gamma), sure = all(1.0f) - doubt;
            factor *= power + l->gamma * loss * sure * (power / doubt);
            loss *= power;
        }
        loss *= weight;
        for (isize r = 0; r < rows; r++) {
            int counts = l->labels[first + r] >= 0;
            l->losses[first + r] = counts ? loss[r] : 0.0f;
            if (!counts) continue;
            totals[0] += (double)loss[r] * (double)scale[r], totals[1] += (double)loss[r];
            totals[2] += best[r] == label[r], totals[3] += 1;
        }
        if (!l->output) continue;
        factor *= scale;
        for (isize c = 0; c < C; c++) {
            vec share = e[c] / total - choose(label == (int32_t)c, all(1.0f), all(0.0f));
            e[c] = choose(weight == all(0.0f), all(0.0f), share * factor);
        }
        give_rows(e, C, rows, l->output + first * C);
    }
    give_back(e);
}

static int cross_entropy(struct loss *l, double *totals) {
    isize items = (l->rows + ROWS_A_LOSS - 1) / ROWS_A_LOSS;
    if (!(l->totals = space(items * 4 * (isize)sizeof(double)))) return -1;
    memset(l->totals, 0, sizeof(double) * 4 * (size_t)items);
    birnn_divide(loss_rows, l, items, l->threads);
    for (int k = 0; k < 4; k++) totals[k] = 0;
    for (isize item = 0; item < items; item++)
        for (int k = 0; k < 4; k++) totals[k] += l->totals[4 * item + k];
    give_back(l->totals);
    return l->failed ? -1 : 0;
}

/* ---- Adam, after clipping, on parameters whose gradients lie end to end ---- */

struct adam {
    isize count, size;        /* parameters, and elements of all */
    float *const *parameters;
    const isize *sizes;
    float *gradient, *mean, *square; /* (size,) */
    double learning_rate, weight_decay, clip_norm;
    int64_t step;             /* from 1 */
    int32_t threads;
    double *sums;
    float factor, rate, root;
};

/* Squares in CHAINS sums, whatever LANES is */
static void add_squares(void *shared, isize item) {
    const struct adam *a = shared;
    isize begin = item * SQUARES_A_SUM, end = least(begin + SQUARES_A_SUM, a->size);
    vec sums[CHAINS / LANES] = {0};
    for (isize k = begin; k < end; k += CHAINS)
        for (int c = 0; c < CHAINS / LANES; c++)
            if (k + c * LANES < end) {
                vec x = load_some(a->gradient + k + c * LANES, end - k - c * LANES);
                sums[c] = fma_(x, x, sums[c]);
            }
    double total = 0;
    for (int c = 0; c < CHAINS; c++) total += (double)sums[c / LANES][c % LANES];
    a->sums[item] = total;
}

static void adam_run(const struct adam *a, float *w, isize from, isize count) {
    const float decay = 0.9f, square_decay = 0.999f;
    for (isize k = 0; k < count; k += LANES, from += LANES) {
        isize left = count - k;
        vec x = load_some(w + k, left);
        vec g = load_some(a->gradient + from, left) * a->factor;
        vec m = load_some(a->mean + from, left), v = load_some(a->square + from, left), root;
        g = fma_(all((float)a->weight_decay), x, g);
        m = fma_(all(1 - decay), g - m, m);
        v = fma_(all(square_decay), v, (1 - square_decay) * (g * g));
        for (int lane = 0; lane < LANES; lane++) root[lane] = __builtin_sqrtf(v[lane]);
        store_some(a->mean + from, m, left), store_some(a->square + from, v, left);
        store_some(w + k, x - a->rate * (m / (root / a->root + 1e-8f)), left);
    }
}

/* What a run of the elements that lie end to end has of each parameter */
static void adam_elements(void *shared, isize item) {
    const struct adam *a = shared;
    isize begin = item * ELEMENTS_AN_ITEM, end = least(begin + ELEMENTS_AN_ITEM, a->size), at = 0;
    for (isize p = 0; p < a->count && at < end; at += a->sizes[p++]) {
        isize first = begin > at ? begin - at : 0, last = least(a->sizes[p], end - at);
        if (first < last) adam_run(a, a->parameters[p] + first, at + first, last - first);
    }
}

/* x^n by products, since pow() differs between C libraries */
static double power(double x, int64_t n) {
    double found = 1;
    for (; n > 0; n >>= 1, x *= x)
        if (n & 1) found *= x;
    return found;
}

static int adam(struct adam *a) {
    isize sums = (a->size + SQUARES_A_SUM - 1) / SQUARES_A_SUM;
    if (!(a->sums = space(sums * (isize)sizeof(double)))) return -1;
    birnn_divide(add_squares, a, sums, a->threads);
    double total = 0;
    for (isize k = 0; k < sums; k++) total += a->sums[k];
    give_back(a->sums);
    double factor = a->clip_norm / (__builtin_sqrt(total) + 1e-6);
    a->factor = factor > 1 ? 1.0f : (float)factor;
    a->rate = (float)(a->learning_rate / (1 - power(0.9, a->step)));
    a->root = (float)__builtin_sqrt(1 - power(0.999, a->step));
    birnn_divide(adam_elements, a, (a->size + ELEMENTS_AN_ITEM - 1) / ELEMENTS_AN_ITEM,
                 a->threads);
    return 0;
}
