// `$(NAME)` in environment values, commands and arguments (Kubernetes: dependent environment variables). Pure.

/**
 * Replaces `$(NAME)` by what `lookup` knows; what it does not know stays as written. `$$` is one dollar, so that
 * `$$(NAME)` is the text `$(NAME)`.
 */
export function expand(text: string, lookup: (name: string) => string | undefined): string {
  return text.replace(/\$\$|\$\(([^)]*)\)/g, (whole, name: string | undefined) =>
    name === undefined ? '$' : (lookup(name) ?? whole),
  );
}
