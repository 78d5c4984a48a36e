// Where a new context begins, and how a suspended context is unwound, on x86-64. See context.hpp and unwind.hpp.
#if defined(__x86_64__)

        .text
        .globl  thrum_context_start
        .hidden thrum_context_start
        .type   thrum_context_start, @function
        .p2align 4
thrum_context_start:
        .cfi_startproc
        .cfi_undefined rip              // The outermost frame: unwinders stop here.
        endbr64
        popq    %rax                    // entry
        popq    %rdi                    // argument
        xorl    %ebp, %ebp              // Frame-pointer walks stop here too.
        call    *%rax                   // The stack pointer is 16-aligned here.
        ud2
        .cfi_endproc
        .size   thrum_context_start, . - thrum_context_start

// void thrum_context_visit(const context* c, void (*visit)(void*), void* argument)
// Calls visit(argument) on the caller's stack, with unwind information that makes the frame below visit() look as if
// it had been called by the suspended context c: CFA = c->sp, return address at &c->ip, frame pointer at &c->bp.
        .globl  thrum_context_visit
        .hidden thrum_context_visit
        .type   thrum_context_visit, @function
        .p2align 4
thrum_context_visit:
        .cfi_startproc
        endbr64
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbx, 0
        movq    %rdi, %rbx
        movq    %rdx, %rdi
        .cfi_remember_state
        .cfi_escape 0x0f, 3, 0x73, 0x00, 0x06   // DW_CFA_def_cfa_expression: deref(rbx)
        .cfi_escape 0x10, 16, 2, 0x73, 0x10     // DW_CFA_expression: rip saved at rbx + 16
        .cfi_escape 0x10, 6, 2, 0x73, 0x08      // DW_CFA_expression: rbp saved at rbx + 8
        call    *%rsi
        nop
        .cfi_restore_state
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore rbx
        ret
        .cfi_endproc
        .size   thrum_context_visit, . - thrum_context_visit

// void thrum_context_visit_interrupted(const std::uint64_t registers[17], void (*visit)(void*), void* argument)
// The same for code that was interrupted anywhere: the frame below visit() looks like a signal's, and all registers
// come from the array, which has DWARF's order (rax rdx rcx rbx rsi rdi rbp rsp r8 to r15, then rip). At any
// instruction the frame may be found through any of them.
        .globl  thrum_context_visit_interrupted
        .hidden thrum_context_visit_interrupted
        .type   thrum_context_visit_interrupted, @function
        .p2align 4
thrum_context_visit_interrupted:
        .cfi_startproc
        .cfi_signal_frame                        // The interrupted address is no return address.
        endbr64
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbx, 0
        movq    %rdi, %rbx
        movq    %rdx, %rdi
        .cfi_remember_state
        .cfi_escape 0x0f, 3, 0x73, 0x38, 0x06    // CFA: deref(rbx + 56)
        .cfi_escape 0x10, 0, 2, 0x73, 0x00       // Each register n is saved at rbx + 8 n.
        .cfi_escape 0x10, 1, 2, 0x73, 0x08
        .cfi_escape 0x10, 2, 2, 0x73, 0x10
        .cfi_escape 0x10, 3, 2, 0x73, 0x18
        .cfi_escape 0x10, 4, 2, 0x73, 0x20
        .cfi_escape 0x10, 5, 2, 0x73, 0x28
        .cfi_escape 0x10, 6, 2, 0x73, 0x30
        .cfi_escape 0x10, 8, 3, 0x73, 0xc0, 0x00
        .cfi_escape 0x10, 9, 3, 0x73, 0xc8, 0x00
        .cfi_escape 0x10, 10, 3, 0x73, 0xd0, 0x00
        .cfi_escape 0x10, 11, 3, 0x73, 0xd8, 0x00
        .cfi_escape 0x10, 12, 3, 0x73, 0xe0, 0x00
        .cfi_escape 0x10, 13, 3, 0x73, 0xe8, 0x00
        .cfi_escape 0x10, 14, 3, 0x73, 0xf0, 0x00
        .cfi_escape 0x10, 15, 3, 0x73, 0xf8, 0x00
        .cfi_escape 0x10, 16, 3, 0x73, 0x80, 0x01
        call    *%rsi
        nop
        .cfi_restore_state
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore rbx
        ret
        .cfi_endproc
        .size   thrum_context_visit_interrupted, . - thrum_context_visit_interrupted

#endif
        .section .note.GNU-stack, "", @progbits
