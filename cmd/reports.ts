import type { Finding } from './authz-input.ts';

/** One line of a JUnit report. `failure`: what is wrong; absent: it passed. */
export interface JUnitCase {
  readonly name: string;
  readonly file: string;
  readonly failure?: string;
}

export function junit(suite: string, cases: readonly JUnitCase[]): string {
  const failures = cases.filter(({ failure }) => failure !== undefined).length;
  const lines = cases.map(({ name, file, failure }) => {
    const head = `    <testcase classname="${xml(file)}" name="${xml(name)}"`;
    if (failure === undefined) return `${head}/>`;
    return `${head}><failure message="${xml(failure)}"/></testcase>`;
  });
  return `${[
    '<?xml version="1.0" encoding="UTF-8"?>',
    '<testsuites>',
    `  <testsuite name="${xml(suite)}" tests="${cases.length}" failures="${failures}">`,
    ...lines,
    '  </testsuite>',
    '</testsuites>',
  ].join('\n')}\n`;
}

/** SARIF 2.1.0, as code hosts show it beside the lines concerned. */
export function sarif(version: string, findings: readonly Finding[]): unknown {
  const rules = [...new Set(findings.map(ruleId))].toSorted().map((id) => ({ id }));
  return {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [
      {
        tool: { driver: { name: 'countersign', version, rules } },
        results: findings.map((finding) => ({
          ruleId: ruleId(finding),
          level: finding.severity,
          message: { text: `${finding.path === '' ? '' : `${finding.path}: `}${finding.message}` },
          locations: [
            {
              physicalLocation: {
                artifactLocation: { uri: encodeURI(finding.file) },
                region: { startLine: Math.max(1, finding.line) },
              },
              ...(finding.object !== '' && {
                logicalLocations: [{ fullyQualifiedName: finding.object, kind: 'object' }],
              }),
            },
          ],
        })),
      },
    ],
  };
}

export function ruleId({ code, severity }: Finding): string {
  return code ?? (severity === 'error' ? 'invalid' : 'suspicious');
}

/** What XML 1.0 cannot say at all becomes `?`. */
function xml(text: string): string {
  return text
    .replaceAll(/[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/gu, '?')
    .replaceAll(/[&<>"\t\n\r]/gu, (character) => `&#${character.codePointAt(0)};`);
}
