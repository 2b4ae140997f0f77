// What of a route cannot be held, gathered while it is read: one reason for the condition, all messages.

export type ResolvedReason =
  | 'InvalidKind'
  | 'RefNotPermitted'
  | 'BackendNotFound'
  | 'InvalidDestination'
  | 'InvalidFilter'
  | 'InvalidConfiguration';

export class RouteProblems {
  /** Of references and rules: ResolvedRefs is False, with the reason of the first. */
  readonly unresolved: { readonly reason: ResolvedReason; readonly message: string }[] = [];
  /** Held in another way than written, or left aside without harm: told beside Accepted. */
  readonly notes: string[] = [];

  unresolve(place: string, reason: ResolvedReason, why: string): void {
    this.unresolved.push({ reason, message: `${place}: ${why}` });
  }

  note(text: string): void {
    if (!this.notes.includes(text)) this.notes.push(text);
  }
}
