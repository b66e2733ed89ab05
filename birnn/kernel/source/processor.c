/* What this CPU can do: the number of the best of the kernel's levels, counted from the oldest */
#ifdef _WIN32
__declspec(dllexport)
#else
__attribute__((visibility("default")))
#endif
int birnn_level(void);

#if defined(__x86_64__) || defined(_M_X64)
int birnn_level(void) {
    __builtin_cpu_init();
    int v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    int v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
    return v4 ? 2 : v3;
}
#else
int birnn_level(void) { return 0; }
#endif
