/* RNN (tanh), GRU and LSTM on sequences of different lengths: one layer, forward and all gradients.
 *
 * No padding is computed. The sequences of a batch are dealt out to groups, by nothing but their
 * number, and each direction of a group is an item of work. In a group they are ordered by length,
 * the longest first; a direction's time runs from the end that it starts at, so that at time t the
 * first sizes[t] rows are alive. Row r at time t lies at starts[t] + r of what a group saves.
 *
 * F features, H hidden units, U = H rounded up to whole vectors. A row has G = gates x U sums: those
 * of the first LANES units, gate by gate, then those of the next LANES units. Gates are i f g o for
 * the LSTM; n r z q for the GRU, where q is what r is multiplied with; one for the RNN.
 */
#include "threads.h"

enum cell { RNN, GRU, LSTM };

/* Of each cell: gates of a row; how many of them x goes into, which are the first, and h, which are
 * the last; and where they stand in torch's weights */
static const struct layout {
    int gates, x_gates, h_gates, x_order[4], h_order[4];
} layouts[] = {
    {1, 1, 1, {0}, {0}},
    {4, 3, 3, {2, 0, 1}, {0, 1, 2}},
    {4, 4, 4, {0, 1, 2, 3}, {0, 1, 2, 3}},
};

/* One layer on one batch. Arrays are contiguous; those that are not needed are NULL. */
struct call {
    int32_t cell, directions, threads;
    isize batch, steps, features, hidden;
    const float *values;         /* (batch, steps, features) */
    const int64_t *lengths;      /* (batch,), from 1 to steps */
    const float *packed;         /* from pack_weights */
    const float *weights[2][4];  /* of each direction as in torch: w_ih w_hh b_ih b_hh */
    const float *start_states;   /* (directions, batch, hidden), or zero */
    const float *start_cells;    /* likewise */
    float *output;               /* (batch, steps, directions x hidden) */
    float *last_cells;           /* (directions, batch, hidden) */
    float *saved;                /* saved_floats(...) for the backward pass */
    const float *output_grads;   /* the gradients of what has these names */
    const float *last_cell_grads;
    float *value_grads;          /* (directions, batch, steps, features): their sum, in the first */
    float *weight_grads[2][4];
    float *start_state_grads;
    float *start_cell_grads;
};

/* ---- who computes what ---- */

enum { ROWS_A_GROUP = 32, MOST_GROUPS = 16, ROWS_AT_ONCE = 128 };

/* Some sequences of a batch */
struct group {
    isize count, longest, rows, before; /* rows: steps of all; before: those of earlier groups */
    isize *sequence, *ends;             /* (count): which one, and its length */
    isize *sizes, *starts;              /* (longest + 1) */
};

struct item {
    const struct call *call;
    struct layout layout;
    const struct group *group;
    isize F, H, U, G;
    int direction;
    float *gates, *states, *cells;  /* what is saved: rows x G, rows x U, rows x U */
    float *dw, *du, *db;            /* F x x_gates U, H x h_gates U, G: this item's share */
    const float *back_x, *back_h;   /* weights packed for the backward pass */
    int failed;
};

struct work {
    const struct call *call;
    isize groups, count; /* count: of the items, and of their shares */
    struct group group[MOST_GROUPS];
    struct item item[2 * MOST_GROUPS];
    isize *places;
    float *shares, *back;
    int failed;
};

static isize groups_of(isize batch) {
    isize groups = batch / ROWS_A_GROUP;
    return groups < 1 ? 1 : least(groups, MOST_GROUPS);
}

/* A stable sort by length, the longest first, dealt out in turn */
static int divide(struct work *work, const struct call *call) {
    isize B = call->batch, T = call->steps, groups = groups_of(B), G = groups;
    isize *places = space((3 * B + (T + 2) + groups * 2 * (T + 1)) * (isize)sizeof(isize));
    if (!places) return -1;
    isize *order = places, *next = order + B, *to = next + T + 2;
    memset(next, 0, sizeof(isize) * (size_t)(T + 2));
    for (isize b = 0; b < B; b++) next[T - call->lengths[b] + 1]++;
    for (isize t = 0; t < T; t++) next[t + 1] += next[t];
    for (isize b = 0; b < B; b++) order[next[T - call->lengths[b]]++] = b;
    isize before = 0;
    for (isize g = 0; g < groups; g++) {
        struct group *group = &work->group[g];
        *group = (struct group){.count = (B - g + G - 1) / G, .before = before};
        group->sequence = to, group->ends = to + group->count, to += 2 * group->count;
        group->longest = call->lengths[order[g]];
        group->sizes = to, group->starts = to + group->longest + 1, to += 2 * (group->longest + 1);
        memset(group->sizes, 0, sizeof(isize) * (size_t)(group->longest + 1));
        for (isize r = 0; r < group->count; r++) {
            group->sequence[r] = order[g + r * G];
            group->ends[r] = call->lengths[group->sequence[r]];
            group->sizes[group->ends[r] - 1]++;
        }
        for (isize t = group->longest - 2; t >= 0; t--) group->sizes[t] += group->sizes[t + 1];
        group->starts[0] = 0;
        for (isize t = 0; t < group->longest; t++)
            group->starts[t + 1] = group->starts[t] + group->sizes[t];
        group->rows = group->starts[group->longest], before += group->rows;
    }
    work->places = places, work->groups = groups;
    return 0;
}

static isize row_floats(int cell, isize hidden) {
    return padded(hidden) * (layouts[cell].gates + (cell == LSTM ? 2 : 1));
}

static int begin(struct work *work, const struct call *call) {
    *work = (struct work){.call = call};
    if (divide(work, call)) return -1;
    struct group *last = &work->group[work->groups - 1];
    isize all_rows = last->before + last->rows;
    for (isize g = 0; g < work->groups; g++)
        for (int d = 0; d < call->directions; d++) {
            struct item *item = &work->item[work->count++];
            *item = (struct item){.call = call, .layout = layouts[call->cell],
                                  .group = &work->group[g], .F = call->features, .H = call->hidden,
                                  .U = padded(call->hidden), .direction = d};
            item->G = item->layout.gates * item->U;
            if (!call->saved) continue;
            isize rows = item->group->rows;
            item->gates = call->saved + (d * all_rows + item->group->before) *
                                            row_floats(call->cell, item->H);
            item->states = item->gates + rows * item->G;
            item->cells = item->states + rows * item->U;
        }
    return 0;
}

/* Where row r at time t is in a (batch, steps) array */
INLINE isize place(const struct item *i, isize t, isize r) {
    return i->group->sequence[r] * i->call->steps + (i->direction ? i->group->ends[r] - 1 - t : t);
}

/* Times are taken together up to this one, so that a product has about ROWS_AT_ONCE rows */
static isize chunk_end(const struct group *group, isize first) {
    isize end = first;
    while (end < group->longest && group->starts[end] - group->starts[first] < ROWS_AT_ONCE) end++;
    return end;
}
static isize most_rows(const struct group *group) { return ROWS_AT_ONCE + group->count; }

static void gather_values(const struct item *i, isize first, isize end, float *to) {
    for (isize t = first; t < end; t++)
        for (isize r = 0; r < i->group->sizes[t]; r++, to += i->F)
            copy_row(to, i->call->values + place(i, t, r) * i->F, i->F);
}

/* Rows of (directions, batch, hidden) into rows of U, in the order of the group */
static void gather_start(const struct item *i, const float *start, float *to) {
    isize U = i->U, H = i->H;
    memset(to, 0, sizeof(float) * (size_t)(i->group->count * U));
    if (!start) return;
    start += i->direction * i->call->batch * H;
    for (isize r = 0; r < i->group->count; r++)
        memcpy(to + r * U, start + i->group->sequence[r] * H, sizeof(float) * (size_t)H);
}
static void scatter(const struct item *i, isize r, const float *from, float *to) {
    to += (i->direction * i->call->batch + i->group->sequence[r]) * i->H;
    memcpy(to, from, sizeof(float) * (size_t)i->H);
}

/* ---- weights, packed once for many calls ---- */

/* Of one direction: panels that x is multiplied with, those of h, and the bias of a row's sums */
struct panels {
    isize x, h, bias, all;
};
static struct panels panels_of(int cell, isize features, isize hidden) {
    const struct layout l = layouts[cell];
    isize U = padded(hidden), x = features * l.x_gates * U, h = hidden * l.h_gates * U;
    return (struct panels){.x = 0, .h = x, .bias = x + h, .all = x + h + l.gates * U};
}

/* Weights (gates x H, inputs): a panel for each vector of units, gate by gate; for a cell of one
 * gate, up to 4 vectors of units */
static void pack_gates(const float *weights, isize hidden, isize inputs, int gates,
                       const int *order, float *to) {
    if (gates == 1) {
        pack_columns(weights, hidden, inputs, to);
        return;
    }
    for (isize first = 0; first < hidden; first += LANES)
        for (isize k = 0; k < inputs; k++)
            for (int gate = 0; gate < gates; gate++)
                for (isize unit = first; unit < first + LANES; unit++)
                    *to++ = unit < hidden ? weights[(order[gate] * hidden + unit) * inputs + k] : 0;
}

static void pack_direction(const struct call *call, int direction, float *to) {
    const struct layout l = layouts[call->cell];
    const float *const *weights = call->weights[direction];
    isize H = call->hidden, U = padded(H);
    struct panels at = panels_of(call->cell, call->features, H);
    pack_gates(weights[0], H, call->features, l.x_gates, l.x_order, to + at.x);
    pack_gates(weights[1], H, H, l.h_gates, l.h_order, to + at.h);
    float *bias = to + at.bias;
    memset(bias, 0, sizeof(float) * (size_t)(l.gates * U));
    for (isize unit = 0; unit < H; unit++) {
        float *sums = bias + unit / LANES * l.gates * LANES + unit % LANES;
        for (int gate = 0; gate < l.x_gates; gate++)
            sums[gate * LANES] = weights[2][l.x_order[gate] * H + unit];
        for (int gate = 0; gate < l.h_gates; gate++)
            sums[(l.gates - l.h_gates + gate) * LANES] += weights[3][l.h_order[gate] * H + unit];
    }
}

/* ---- forward ---- */

/* What is left to do with the sums of some units of one row, in place; g is followed by the sums of
 * the next gate. Returns the state. */
INLINE vec lstm_cell(float *g, const float *cell_before, float *cell) {
    vec i = sigmoid(load(g)), f = sigmoid(load(g + LANES));
    vec n = tanh_(load(g + 2 * LANES)), o = sigmoid(load(g + 3 * LANES));
    vec c = fma_(f, load(cell_before), i * n);
    store(g, i), store(g + LANES, f), store(g + 2 * LANES, n), store(g + 3 * LANES, o);
    store(cell, c);
    return o * tanh_(c);
}
INLINE vec gru_cell(float *g, const float *state_before) {
    vec r = sigmoid(load(g + LANES)), z = sigmoid(load(g + 2 * LANES));
    vec n = tanh_(fma_(r, load(g + 3 * LANES), load(g)));
    store(g, n), store(g + LANES, r), store(g + 2 * LANES, z);
    return fma_(z, load(state_before), fma_(-z, n, n));
}

/* All that a time needs: its sums, and rows of U of the states and cells before and after it */
struct step {
    isize rows;
    float *sums;
    const float *before, *cells_before;
    float *states, *cells;
    float **output; /* of each row, at this direction's first unit */
};

INLINE void finish_units(const struct item *i, const struct step *s, isize unit, const int cell) {
    isize gates = i->layout.gates, left = i->H - unit;
    for (isize r = 0; r < s->rows; r++) {
        float *g = s->sums + r * i->G + unit * gates;
        isize at = r * i->U + unit;
        vec state = cell == LSTM  ? lstm_cell(g, s->cells_before + at, s->cells + at)
                    : cell == GRU ? gru_cell(g, s->before + at)
                                  : tanh_(load(g));
        store(s->states + at, state);
        store_some(s->output[r] + unit, state, left);
    }
}

static void run_step(const struct item *i, const struct step *s, const float *h_panels, int skip) {
    const struct layout l = i->layout;
    isize wide = l.gates == 1 ? 4 : 1; /* vectors of units in a panel */
    for (isize unit = 0; unit < i->U; unit += wide * LANES) {
        isize blocks = least((i->U - unit) / LANES, wide), vectors = blocks * l.h_gates;
        float *sums = s->sums + unit * l.gates + (l.gates - l.h_gates) * LANES;
        if (!skip)
            multiply_panel((struct product){.a = s->before, .row_step = i->U, .k_step = 1,
                                            .parts = 1, .count = i->H, .w = h_panels,
                                            .from = sums, .from_step = i->G, .out = sums, .out_step = i->G},
                           s->rows, vectors);
        h_panels += i->H * vectors * LANES;
        for (isize block = 0; block < blocks; block++) {
            if (i->call->cell == LSTM) finish_units(i, s, unit + block * LANES, LSTM);
            else if (i->call->cell == GRU) finish_units(i, s, unit + block * LANES, GRU);
            else finish_units(i, s, unit + block * LANES, RNN);
        }
    }
}

/* The bias, and what x adds to it */
static void start_sums(const struct item *i, const float *panels, const float *x, isize rows,
                       float *sums) {
    const struct layout l = i->layout;
    const float *bias = panels + panels_of(i->call->cell, i->F, i->H).bias;
    isize wide = l.gates == 1 ? 4 : 1;
    for (isize unit = 0; unit < i->U; unit += wide * LANES) {
        isize at = unit * l.gates, vectors = least((i->U - unit) / LANES, wide) * l.x_gates;
        multiply_panel((struct product){.a = x, .row_step = i->F, .k_step = 1, .parts = 1,
                                        .count = i->F, .w = panels, .from = bias + at,
                                        .out = sums + at, .out_step = i->G},
                       rows, vectors);
        panels += i->F * vectors * LANES;
        if (l.x_gates < l.gates) /* the GRU's q, which x does not go into */
            for (isize r = 0; r < rows; r++)
                store(sums + r * i->G + at + 3 * LANES, load(bias + at + 3 * LANES));
    }
}

static void forward(void *shared, isize number) {
    struct item *i = &((struct work *)shared)->item[number];
    const struct call *call = i->call;
    const struct group *group = i->group;
    isize U = i->U, G = i->G, H = i->H, R = group->count, most = most_rows(group);
    struct panels at = panels_of(call->cell, i->F, H);
    const float *panels = call->packed + i->direction * at.all;
    int training = call->saved != NULL, lstm = call->cell == LSTM;
    isize width = call->directions * H;
    float *x = floats(most * i->F + 4 * R * U + (training ? 0 : most * G));
    float **output = space(R * (isize)sizeof(float *));
    if (!x || !output) {
        i->failed = 1, give_back(x), give_back(output);
        return;
    }
    float *states = x + most * i->F, *cells = states + 2 * R * U, *cells_0 = cells + R * U;
    float *sums = cells_0 + R * U;
    gather_start(i, call->start_states, states + R * U);
    gather_start(i, call->start_cells, cells_0);
    struct step s = {.before = states + R * U, .cells_before = cells_0, .output = output};
    for (isize first = 0, end; first < group->longest; first = end) {
        end = chunk_end(group, first);
        isize start = group->starts[first], rows = group->starts[end] - start;
        gather_values(i, first, end, x);
        s.sums = training ? i->gates + start * G : sums;
        start_sums(i, panels, x, rows, s.sums);
        for (isize t = first; t < end; t++) {
            s.rows = group->sizes[t];
            s.states = training ? i->states + group->starts[t] * U : states + t % 2 * R * U;
            s.cells = training && lstm ? i->cells + group->starts[t] * U : cells;
            for (isize r = 0; r < s.rows; r++)
                output[r] = call->output + place(i, t, r) * width + i->direction * H;
            run_step(i, &s, panels + at.h, t == 0 && !call->start_states);
            if (call->last_cells)
                for (isize r = group->sizes[t + 1]; r < s.rows; r++)
                    scatter(i, r, s.cells + r * U, call->last_cells);
            s.sums += s.rows * G, s.before = s.states, s.cells_before = s.cells;
        }
    }
    if (i->direction == 0)
        for (isize r = 0; r < R; r++)
            memset(call->output + (group->sequence[r] * call->steps + group->ends[r]) * width, 0,
                   sizeof(float) * (size_t)((call->steps - group->ends[r]) * width));
    give_back(x), give_back(output);
}

/* ---- backward ----
 *
 * From the last time to the first: `dh` is the gradient of a row's state, its own and what comes
 * back from one time later; the cell's derivatives turn it into `dg`, the gradients of the row's
 * sums (gate by gate, U each), and dg through the weights into the dh of one time earlier. The
 * gradient of a weight is the sum of dg times what the weight is multiplied with: over the rows of
 * a chunk, then over chunks, then over groups, each in one order.
 */

/* `dc` is the gradient of the cell: coming from one time later, then going to one time earlier */
static void lstm_back(float *dg, const float *g, const float *dh, float *dc, const float *c,
                      const float *c_before, isize U) {
    for (isize k = 0; k < U; k += LANES, g += 4 * LANES, dg += LANES) {
        vec i = load(g), f = load(g + LANES), n = load(g + 2 * LANES), o = load(g + 3 * LANES);
        vec t = tanh_(load(c + k)), at_h = load(dh + k), at_o = at_h * t;
        vec at_c = fma_(at_h * o, fma_(-t, t, all(1.0f)), load(dc + k));
        store(dc + k, at_c * f);
        store(dg, at_c * n * fma_(-i, i, i));
        store(dg + U, at_c * load(c_before + k) * fma_(-f, f, f));
        store(dg + 2 * U, at_c * i * fma_(-n, n, all(1.0f)));
        store(dg + 3 * U, at_o * fma_(-o, o, o));
    }
}

/* `dh` becomes what goes to the state before straight through the update gate */
static void gru_back(float *dg, const float *g, float *dh, const float *before, isize U) {
    for (isize k = 0; k < U; k += LANES, g += 4 * LANES, dg += LANES) {
        vec n = load(g), r = load(g + LANES), z = load(g + 2 * LANES), q = load(g + 3 * LANES);
        vec at_h = load(dh + k), at_n = fma_(-z, at_h, at_h) * fma_(-n, n, all(1.0f));
        vec at_q = at_n * r;
        store(dh + k, at_h * z);
        store(dg, at_n), store(dg + 3 * U, at_q);
        store(dg + U, at_q * q * (1.0f - r));
        store(dg + 2 * U, at_h * (load(before + k) - n) * fma_(-z, z, z));
    }
}

static void rnn_back(float *dg, const float *dh, const float *h, isize U) {
    for (isize k = 0; k < U; k += LANES) {
        vec state = load(h + k);
        store(dg + k, load(dh + k) * fma_(-state, state, all(1.0f)));
    }
}

/* Buffers of an item's backward pass; rows of dg are `step` apart, an odd number of cache lines,
 * lest a column falls into a few sets of the cache */
struct buffers {
    float *x, *before, *dg, *dx, *dh, *dc, *states_0, *cells_0;
    isize step, wide;
};

static float *take_buffers(const struct item *i, struct buffers *b) {
    isize most = most_rows(i->group), rows = i->group->count * i->U;
    b->step = (i->G + 31) / 32 * 32 + 16, b->wide = padded(i->F);
    float *at = floats(most * (i->F + i->U + b->step + b->wide) + 4 * rows), *block = at;
    if (!at) return NULL;
    b->dg = at, at += most * b->step;
    b->dx = at, at += most * b->wide;
    b->before = at, at += most * i->U;
    b->dh = at, at += rows, b->dc = at, at += rows;
    b->states_0 = at, at += rows, b->cells_0 = at, at += rows;
    b->x = at;
    memset(b->dh, 0, sizeof(float) * (size_t)rows);
    gather_start(i, i->call->last_cell_grads, b->dc);
    gather_start(i, i->call->start_states, b->states_0);
    gather_start(i, i->call->start_cells, b->cells_0);
    return block;
}

/* Turn dh into the gradients of one time's sums, `dg`, and into the dh of one time earlier */
static void back_one_time(const struct item *i, isize t, const struct buffers *b, float *dg) {
    const struct call *call = i->call;
    const struct group *group = i->group;
    isize U = i->U, H = i->H, size = group->sizes[t], start = group->starts[t];
    const float *before = t ? i->states + group->starts[t - 1] * U : b->states_0;
    const float *cells = t ? i->cells + group->starts[t - 1] * U : b->cells_0;
    for (isize r = 0; r < size; r++) {
        const float *own =
            call->output_grads + place(i, t, r) * call->directions * H + i->direction * H;
        float *dh = b->dh + r * U, *to = dg + r * b->step;
        const float *g = i->gates + (start + r) * i->G;
        for (isize k = 0; k < H; k += LANES)
            store_some(dh + k, load_some(dh + k, H - k) + load_some(own + k, H - k), H - k);
        if (call->cell == LSTM)
            lstm_back(to, g, dh, b->dc + r * U, i->cells + (start + r) * U, cells + r * U, U);
        else if (call->cell == GRU) gru_back(to, g, dh, before + r * U, U);
        else rnn_back(to, dh, i->states + (start + r) * U, U);
    }
    if (t || call->start_state_grads)
        multiply((struct product){.a = dg + (i->layout.gates - i->layout.h_gates) * U,
                                  .row_step = b->step, .k_step = 1, .parts = i->layout.h_gates,
                                  .part_step = U, .count = H, .w = i->back_h,
                                  .from = call->cell == GRU ? b->dh : NULL, .from_step = U,
                                  .out = b->dh, .out_step = U},
                 size, U);
}

/* Add what the rows of a chunk give to the gradients of weights */
static void add_weights(const struct item *i, isize first, isize end, const struct buffers *b) {
    const struct group *group = i->group;
    const struct layout l = i->layout;
    isize U = i->U, F = i->F, x_cols = l.x_gates * U, h_cols = l.h_gates * U;
    static const float one = 1.0f;
    float *to = b->before;
    for (isize t = first; t < end; t++) {
        isize count = group->sizes[t] * U;
        const float *from = t ? i->states + group->starts[t - 1] * U : b->states_0;
        memcpy(to, from, sizeof(float) * (size_t)count), to += count;
    }
    gather_values(i, first, end, b->x);
    struct product sum = {.row_step = 1, .parts = 1, .w_step = b->step, .count = group->starts[end] - group->starts[first]};
    sum.a = b->x, sum.k_step = F, sum.w = b->dg;
    sum.from = sum.out = i->dw, sum.from_step = sum.out_step = x_cols;
    multiply(sum, F, x_cols);
    sum.a = b->before, sum.k_step = U, sum.w = b->dg + (l.gates - l.h_gates) * U;
    sum.from = sum.out = i->du, sum.from_step = sum.out_step = h_cols;
    multiply(sum, i->H, h_cols);
    sum.a = &one, sum.k_step = 0, sum.w = b->dg, sum.from = sum.out = i->db;
    multiply(sum, 1, i->G);
}

static void give_values(const struct item *i, isize first, isize end, const struct buffers *b) {
    const struct group *group = i->group;
    const struct call *call = i->call;
    float *grads = call->value_grads + i->direction * call->batch * call->steps * i->F;
    multiply((struct product){.a = b->dg, .row_step = b->step, .k_step = 1,
                              .parts = i->layout.x_gates, .part_step = i->U, .count = i->H,
                              .w = i->back_x, .out = b->dx, .out_step = b->wide},
             group->starts[end] - group->starts[first], b->wide);
    const float *from = b->dx;
    for (isize t = first; t < end; t++)
        for (isize r = 0; r < group->sizes[t]; r++, from += b->wide)
            copy_row(grads + place(i, t, r) * i->F, from, i->F);
}

static void backward(void *shared, isize number) {
    struct item *i = &((struct work *)shared)->item[number];
    const struct group *group = i->group;
    struct buffers b = {0};
    float *block = take_buffers(i, &b);
    isize *ends = space((group->longest + 1) * (isize)sizeof(isize)), chunks = 0;
    if (!block || !ends) {
        i->failed = 1, give_back(block), give_back(ends);
        return;
    }
    for (isize t = 0; t < group->longest; t = ends[chunks++]) ends[chunks] = chunk_end(group, t);
    for (isize chunk = chunks - 1; chunk >= 0; chunk--) {
        isize first = chunk ? ends[chunk - 1] : 0, end = ends[chunk];
        for (isize t = end - 1; t >= first; t--)
            back_one_time(i, t, &b, b.dg + (group->starts[t] - group->starts[first]) * b.step);
        add_weights(i, first, end, &b);
        if (i->call->value_grads) give_values(i, first, end, &b);
    }
    for (isize r = 0; r < group->count; r++) {
        if (i->call->start_state_grads) scatter(i, r, b.dh + r * i->U, i->call->start_state_grads);
        if (i->call->start_cell_grads) scatter(i, r, b.dc + r * i->U, i->call->start_cell_grads);
    }
    give_back(block), give_back(ends);
}

/* The shares of all groups, added in order, as torch has its weights */
static void give_weights(const struct work *work, int direction) {
    const struct call *call = work->call;
    const struct item *first = &work->item[direction];
    const struct layout l = first->layout;
    isize F = first->F, H = first->H, U = first->U, x_cols = l.x_gates * U, h_cols = l.h_gates * U;
    isize count = F * x_cols + H * h_cols + first->G;
    for (isize g = 1; g < work->groups; g++) {
        const float *share = work->item[g * call->directions + direction].dw;
        for (isize k = 0; k < count; k += LANES)
            store(first->dw + k, load(first->dw + k) + load(share + k));
    }
    float *const *to = call->weight_grads[direction];
    for (int gate = 0; gate < l.x_gates; gate++)
        for (isize unit = 0; unit < H; unit++) {
            isize row = l.x_order[gate] * H + unit;
            for (isize k = 0; k < F; k++)
                to[0][row * F + k] = first->dw[k * x_cols + gate * U + unit];
            to[2][row] = first->db[gate * U + unit];
        }
    for (int gate = 0; gate < l.h_gates; gate++)
        for (isize unit = 0; unit < H; unit++) {
            isize row = l.h_order[gate] * H + unit;
            for (isize k = 0; k < H; k++)
                to[1][row * H + k] = first->du[k * h_cols + gate * U + unit];
            to[3][row] = first->db[(l.gates - l.h_gates + gate) * U + unit];
        }
}

/* The gradients of both directions by the values, added; none in the padding */
static void finish_values(void *shared, isize b) {
    const struct call *call = ((const struct work *)shared)->call;
    isize T = call->steps, F = call->features, real = call->lengths[b] * F;
    float *to = call->value_grads + b * T * F, *other = to + call->batch * T * F;
    if (call->directions == 2)
        for (isize k = 0; k < real; k++) to[k] += other[k];
    memset(to + real, 0, sizeof(float) * (size_t)(T * F - real));
}

static void pack_back(void *shared, isize direction) {
    struct work *work = shared;
    const struct call *call = work->call;
    const struct layout l = layouts[call->cell];
    isize F = call->features, H = call->hidden;
    isize one = H * (l.x_gates * padded(F) + l.h_gates * padded(H));
    float *back_x = work->back + direction * one, *back_h = back_x;
    if (call->value_grads)
        back_h = pack_rows(call->weights[direction][0], F, l.x_gates, l.x_order, H, back_x);
    pack_rows(call->weights[direction][1], H, l.h_gates, l.h_order, H, back_h);
    for (isize g = 0; g < work->groups; g++) {
        struct item *item = &work->item[g * call->directions + direction];
        item->back_x = back_x, item->back_h = back_h;
    }
}

static int finish(struct work *work) {
    int failed = 0;
    for (isize k = 0; k < work->count; k++) failed |= work->item[k].failed;
    give_back(work->places), give_back(work->shares), give_back(work->back);
    return failed ? -1 : 0;
}

static int recurrence_forward(const struct call *call) {
    struct work work;
    if (begin(&work, call)) return -1;
    birnn_divide(forward, &work, work.count, call->threads);
    return finish(&work);
}

static int recurrence_backward(const struct call *call) {
    struct work work;
    if (begin(&work, call)) return -1;
    const struct layout l = layouts[call->cell];
    isize F = call->features, H = call->hidden, U = padded(H);
    isize share = U * (F * l.x_gates + H * l.h_gates + l.gates);
    work.shares = floats(work.count * share);
    work.back = floats(call->directions * H * (l.x_gates * padded(F) + l.h_gates * U));
    if (!work.shares || !work.back) return finish(&work), -1;
    memset(work.shares, 0, sizeof(float) * (size_t)(work.count * share));
    for (isize k = 0; k < work.count; k++) {
        struct item *item = &work.item[k];
        item->dw = work.shares + k * share;
        item->du = item->dw + F * l.x_gates * U, item->db = item->du + H * l.h_gates * U;
    }
    birnn_divide(pack_back, &work, call->directions, call->threads);
    birnn_divide(backward, &work, work.count, call->threads);
    for (int d = 0; d < call->directions; d++) give_weights(&work, d);
    if (call->value_grads) birnn_divide(finish_values, &work, call->batch, call->threads);
    return finish(&work);
}
