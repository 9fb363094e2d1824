/** `spec.rules[2].to[0]`, `metadata.labels["app.kubernetes.io/name"]`, or its steps one by one. */
export type FieldPath = string | readonly (string | number)[];

/** One object of a manifest file, as its text says; nothing of it is checked but that it is a mapping. */
export interface Manifest {
  readonly value: Readonly<Record<string, unknown>>;
  /** As the caller named it. */
  readonly file: string;
  /** Where the object begins, from 1. */
  readonly line: number;
  /**
   * The line of a field, from 1. A field that is not there has the line of its nearest ancestor that is.
   */
  readonly lineOf: (path: FieldPath) => number;
}

/** Why a document, or a whole file, cannot be used. */
export interface ManifestProblem {
  readonly file: string;
  /** From 1; 0 where the file could not be read at all. */
  readonly line: number;
  /** Path of the field; empty: the whole document. */
  readonly field: string;
  /** What was found, what is allowed, what to do. */
  readonly message: string;
}

export interface Manifests {
  readonly documents: readonly Manifest[];
  readonly problems: readonly ManifestProblem[];
}

/** One YAML or JSON mapping, or why there is none. */
export type Mapping =
  | { readonly ok: true; readonly value: Readonly<Record<string, unknown>> }
  | { readonly ok: false; readonly message: string };
