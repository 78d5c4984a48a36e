// Where a new context begins, and how a suspended context is unwound, on aarch64. See context.hpp and unwind.hpp.
#if defined(__aarch64__)

        .text
        .globl  thrum_context_start
        .hidden thrum_context_start
        .type   thrum_context_start, %function
        .p2align 4
thrum_context_start:
        .cfi_startproc
        .cfi_undefined x30              // The outermost frame: unwinders stop here.
        hint    #36                     // bti j
        ldp     x9, x0, [sp], #16       // entry, argument
        mov     x29, xzr                // Frame-pointer walks stop here too.
        mov     x30, xzr
        blr     x9
        brk     #1
        .cfi_endproc
        .size   thrum_context_start, . - thrum_context_start

// void thrum_context_visit(const context* c, void (*visit)(void*), void* argument); see context_x86_64.S.
        .globl  thrum_context_visit
        .hidden thrum_context_visit
        .type   thrum_context_visit, %function
        .p2align 4
thrum_context_visit:
        .cfi_startproc
        hint    #34                     // bti c
        stp     x29, x30, [sp, #-32]!
        .cfi_adjust_cfa_offset 32
        .cfi_rel_offset x29, 0
        .cfi_rel_offset x30, 8
        str     x19, [sp, #16]
        .cfi_rel_offset x19, 16
        mov     x19, x0
        mov     x0, x2
        .cfi_remember_state
        .cfi_escape 0x0f, 3, 0x83, 0x00, 0x06   // DW_CFA_def_cfa_expression: deref(x19)
        .cfi_escape 0x10, 30, 2, 0x83, 0x10     // DW_CFA_expression: return address saved at x19 + 16
        .cfi_escape 0x10, 29, 2, 0x83, 0x08     // DW_CFA_expression: x29 saved at x19 + 8
        blr     x1
        nop
        .cfi_restore_state
        ldr     x19, [sp, #16]
        ldp     x29, x30, [sp], #32
        ret
        .cfi_endproc
        .size   thrum_context_visit, . - thrum_context_visit

#endif
        .section .note.GNU-stack, "", %progbits
