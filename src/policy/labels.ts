type Labels = Readonly<Record<string, string>>;

/** Whether labels have every pair of a selector; of one without pairs any labels do. */
export function satisfies(labels: Labels, selector: Labels): boolean {
  return Object.entries(selector).every(
    ([name, value]) => Object.hasOwn(labels, name) && labels[name] === value,
  );
}
