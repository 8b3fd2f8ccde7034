// The highlighter does not know rhai, whose grammar is close to Rust's.
for (const code of document.querySelectorAll("code.language-rhai")) {
    code.classList.replace("language-rhai", "language-rust");
    hljs.highlightBlock(code);
}
