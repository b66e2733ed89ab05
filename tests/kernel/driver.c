/* Prints hashes of what the kernel computes from fixed numbers, without Python or torch.
 *
 * Built for two kinds of CPU, or with sanitizers, the prints are to be the same:
 *     cc -O2 -ffp-contract=off -fno-math-errno -DLEVEL=any -I birnn/kernel/source \
 *         tests/kernel/driver.c birnn/kernel/source/threads.c -lpthread -lm
 */
#include "kernel.c"

#include <stdio.h>

#define CALL(name) NAMED(name, LEVEL)

static uint64_t state = 1;
static float drawn(void) { /* from -1 to 1, a multiple of 2^-23 */
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (float)((int32_t)(state >> 40) - (1 << 23)) / (float)(1 << 23);
}
static isize whole(isize below) { return (isize)((drawn() + 1) / 2 * (float)below) % below; }
static float *numbers(isize count, float scale) {
    float *made = floats(count);
    for (isize k = 0; k < count; k++) made[k] = drawn() * scale;
    return made;
}
static float *room(isize count) { return memset(floats(count), 0, sizeof(float) * (size_t)count); }

static uint64_t hash;
static void add(const void *bytes, isize count) {
    for (isize k = 0; k < count; k++)
        hash = (hash ^ ((const unsigned char *)bytes)[k]) * 1099511628211u;
}
static void say(const char *what) {
    printf("%s %016llx\n", what, (unsigned long long)hash);
    hash = 14695981039346656037u;
}

static void recurrence(int cell, int threads, const isize *shape) {
    isize B = shape[0], T = shape[1], F = shape[2], H = shape[3], D = shape[4], rows = 0;
    isize gates = layouts[cell].x_gates * H;
    struct call call = {.cell = cell, .directions = (int32_t)D, .threads = threads, .batch = B,
                        .steps = T, .features = F, .hidden = H};
    isize sizes[4] = {gates * F, gates * H, gates, gates};
    float *weights[2][4], *grads[2][4];
    for (isize d = 0; d < D; d++)
        for (int k = 0; k < 4; k++) {
            call.weights[d][k] = weights[d][k] = numbers(sizes[k], 0.3f);
            call.weight_grads[d][k] = grads[d][k] = room(sizes[k]);
        }
    int64_t *lengths = space(B * 8);
    for (isize b = 0; b < B; b++) rows += lengths[b] = 1 + whole(T);
    float *packed = floats(D * CALL(packed_floats)(cell, F, H));
    CALL(pack)(&call, packed);
    float *values = numbers(B * T * F, 3), *starts = numbers(D * B * H, 1);
    float *cells = numbers(D * B * H, 1), *output = floats(B * T * D * H);
    float *saved = floats(D * rows * CALL(saved_floats)(cell, H)), *last = floats(D * B * H);
    float *at_output = numbers(B * T * D * H, 1), *at_last = numbers(D * B * H, 1);
    float *at_values = floats(D * B * T * F), *at_starts = floats(D * B * H);
    float *at_cells = floats(D * B * H);
    call.values = values, call.lengths = lengths, call.packed = packed, call.output = output;
    call.start_states = starts, call.saved = saved;
    if (cell == LSTM) call.start_cells = cells, call.last_cells = last;
    int failed = CALL(forward)(&call);
    add(output, B * T * D * H * 4);
    if (cell == LSTM) add(last, D * B * H * 4);
    call.output_grads = at_output, call.value_grads = at_values;
    call.start_state_grads = at_starts;
    if (cell == LSTM) call.last_cell_grads = at_last, call.start_cell_grads = at_cells;
    failed |= CALL(backward)(&call);
    add(at_values, B * T * F * 4), add(at_starts, D * B * H * 4);
    if (cell == LSTM) add(at_cells, D * B * H * 4);
    for (isize d = 0; d < D; d++)
        for (int k = 0; k < 4; k++) {
            add(grads[d][k], sizes[k] * 4);
            give_back(weights[d][k]), give_back(grads[d][k]);
        }
    give_back(lengths), give_back(packed), give_back(values), give_back(starts), give_back(cells), give_back(output);
    give_back(saved), give_back(last), give_back(at_output), give_back(at_last), give_back(at_values), give_back(at_starts);
    give_back(at_cells);
    say(failed ? "failed" : (const char *[]){"RNN", "GRU", "LSTM"}[cell]);
}

static void the_rest(int threads, isize rows, isize inputs, isize classes) {
    float *values = numbers(rows * inputs, 1), *weights = numbers(classes * inputs, 1);
    float *bias = numbers(classes, 1), *logits = floats(rows * classes);
    float *grads = floats(rows * classes), *at_values = floats(rows * inputs);
    float *gradient = floats(classes * (inputs + 1)), *losses = floats(rows);
    float *scales = numbers(rows, 1), *parameters[2] = {weights, bias};
    isize sizes[2] = {classes * inputs, classes};
    int64_t *labels = space(rows * 8);
    double totals[4];
    for (isize r = 0; r < rows; r++) labels[r] = whole(classes + 1) - 1;
    struct dropout dropout = {.count = rows * inputs, .values = values, .output = values,
                              .seed = 12345678901234567u, .below = 1u << 30, .scale = 4.0f / 3,
                              .threads = threads};
    CALL(dropout)(&dropout);
    struct linear linear = {.rows = rows, .inputs = inputs, .outputs = classes, .values = values,
                            .weights = weights, .bias = bias, .output = logits,
                            .output_grads = grads, .value_grads = at_values,
                            .weight_grads = gradient, .bias_grads = gradient + sizes[0],
                            .threads = threads};
    int failed = CALL(linear_forward)(&linear);
    add(logits, rows * classes * 4);
    struct loss loss = {.rows = rows, .classes = classes, .logits = logits, .labels = labels,
                        .scales = scales, .gamma = 0.5f, .output = grads, .losses = losses,
                        .threads = threads};
    failed |= CALL(cross_entropy)(&loss, totals);
    failed |= CALL(linear_backward)(&linear);
    add(totals, sizeof totals), add(grads, rows * classes * 4), add(losses, rows * 4);
    add(at_values, rows * inputs * 4), add(gradient, classes * (inputs + 1) * 4);
    failed |= CALL(softmax)(&loss);
    add(grads, rows * classes * 4);
    float *mean = room(sizes[0] + sizes[1]), *square = room(sizes[0] + sizes[1]);
    struct adam adam = {.count = 2, .size = sizes[0] + sizes[1], .parameters = parameters,
                        .sizes = sizes, .gradient = gradient, .mean = mean, .square = square,
                        .learning_rate = 0.01, .weight_decay = 0.1, .clip_norm = 1, .step = 3,
                        .threads = threads};
    failed |= CALL(adam)(&adam);
    add(weights, sizes[0] * 4), add(bias, sizes[1] * 4);
    give_back(values), give_back(weights), give_back(bias), give_back(logits), give_back(grads), give_back(at_values);
    give_back(gradient), give_back(losses), give_back(scales), give_back(labels), give_back(mean), give_back(square);
    say(failed ? "failed" : "rest");
}

static void pooled(int threads) {
    isize B = 9, T = 7, W = 33;
    int64_t lengths[9] = {7, 1, 2, 3, 7, 6, 5, 4, 1}, rows[5] = {2, 0, 2, 1, 2};
    int32_t at[9 * 33];
    float *values = numbers(B * T * W, 1), *mean = floats(B * W), *most = floats(B * W);
    float *table = room(3 * W), *beside = floats(12 * W);
    struct pool pool = {.batch = B, .steps = T, .width = W, .lengths = lengths, .values = values,
                        .mean = mean, .most = most, .at = at, .mean_grads = mean,
                        .most_grads = most, .value_grads = values, .threads = threads};
    CALL(pool)(&pool), CALL(pool_back)(&pool);
    add(values, B * T * W * 4);
    CALL(embedding_backward)(values, rows, 5, W, table);
    add(table, 3 * W * 4);
    int64_t starts[3] = {4, 0, 2}, runs[3] = {1, 4, 3}, side[3 * 4];
    int32_t wholes[5] = {5, -4, 3, 2, 1};
    struct gather gather = {.batch = 3, .steps = 4, .width = W, .starts = starts, .lengths = runs,
                            .values = values, .output = beside, .padding = -1};
    CALL(gather)(&gather), add(beside, 12 * W * 4);
    gather.values = NULL, gather.wholes = wholes, gather.output = side;
    CALL(gather)(&gather), add(side, sizeof side);
    give_back(values), give_back(mean), give_back(most), give_back(table), give_back(beside);
    say("pool");
}

int main(int argc, char **argv) {
    static const isize shapes[][5] = {{1, 1, 1, 1, 1},    {7, 40, 3, 10, 2},  {64, 9, 32, 32, 2},
                                      {33, 12, 37, 57, 2}, {100, 6, 20, 70, 1}, {5, 9, 1, 130, 2}};
    int threads = argc > 1 ? atoi(argv[1]) : 2;
    hash = 14695981039346656037u;
    for (int cell = RNN; cell <= LSTM; cell++)
        for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++)
            recurrence(cell, threads, shapes[k]);
    the_rest(threads, 3000, 64, 5), the_rest(threads, 1, 3, 1), the_rest(threads, 700, 129, 37);
    pooled(threads);
    return 0;
}
