import { globSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import * as tstl from 'typescript-to-lua';
import { withInlined } from './inline.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const SCRIPT = 'src/ledger/shared/script/';

/** A generated part of the script, and what it is made of. */
export interface LuaModule {
  /** The name by which the rest of the script calls it. */
  readonly name: string;
  /** The files of its functions and records. */
  readonly sources: readonly string[];
  readonly output: string;
  readonly header: string;
  /**
   * Groups of functions that few steps need, by their names or by their files. A group is made when one
   * of its functions, or of a later group, is first called.
   */
  readonly lazy?: readonly (readonly string[])[];
  /** What the generator adds to the functions of the source. */
  readonly added?: { readonly names: readonly string[]; readonly lua: (model: Model) => string };
}

/** What only steps with waiting tickets need. */
const WAITING = [
  'forecast',
  'nextWakeAt',
  'sooner',
  'countSlotsBefore',
  'nthSlotAt',
  'nthExtraAt',
  'forcedCanaryAt',
];

/** What only steps need in which operations may be kept for some callers. */
const KEEPING = ['reserveAt', 'keptUntilReturns', 'isKept', 'stated-shares'];

/** What no step needs in which requests are granted and answered, and nothing else happens. */
const RARE = [
  'bucket',
  'known-budget',
  'answeredWithoutHeaders',
  'refused',
  'instructedRetryAt',
  'delayForcedCanary',
  'nextGuessMs',
  'correctCost',
  'maxInFlight',
  'refusedByUnknownLimit',
  'unsent',
  'renewed',
  'lost',
  'countLost',
  'expireLease',
  'setConfiguredLimit',
  'needsCanary',
  'scheduleCanary',
  'holdOthers',
  'refillByReset',
  'fromLocal',
  'advanceShare',
  'shareGranted',
  'startSpending',
  'isShareUsedUp',
  'paceMs',
  'learnFromRefusal',
  'reportedAt',
  'isEven',
  'makeWindowedMax',
  'makeSlots',
  'makeChunk',
  'moveSlots',
  'clearSlots',
  'insertChunk',
  'cutChunk',
  'mergeFirstChunk',
  'dropFirstChunk',
];

const BUDGET: LuaModule = {
  name: 'Model',
  sources: ['src/budget/*.ts'],
  output: `${SCRIPT}model.lua`,
  header: `-- model: the budget model, as one module.
--
-- Generated from src/budget/*.ts by "npm run lua". Change the source, not this file.
--
-- Returns: the functions that the rest of the script calls, by their names in the source; and
--   packBucket and unpackBucket, which store a bucket without its slots.
`,
  lazy: [WAITING, KEEPING, RARE],
  added: { names: ['packBucket', 'unpackBucket'], lua: packing },
};

/** What the queue needs for a new flow, for one that becomes empty, and for a ticket that may be shed. */
const NEW_OR_EMPTY = [
  'startOf',
  'startIn',
  'onEmptyFlow',
  'forget',
  'needsShared',
  'rememberName',
  'indexOf',
  'operationsAhead',
];

const QUEUE: LuaModule = {
  name: 'FairQueue',
  sources: ['src/queue/fair-queue.ts', 'src/queue/flow.ts', 'src/queue/flows-by-owner.ts'],
  output: `${SCRIPT}fair-queue.lua`,
  header: `-- fair-queue: the order of the waiting tickets, as one module. Its data are in stored-queue.lua.
--
-- Generated from src/queue/{fair-queue,flow,flows-by-owner}.ts by "npm run lua". Change the source,
-- not this file.
--
-- Returns: the functions that the rest of the script calls, by their names in the source.
`,
  lazy: [NEW_OR_EMPTY],
};

const OWNERS: LuaModule = {
  name: 'RecentOwners',
  sources: ['src/queue/recent-owners.ts', 'src/queue/flow.ts'],
  output: `${SCRIPT}recent-owners.lua`,
  header: `-- recent-owners: which owners used the bucket lately, and how much of it.
--
-- Generated from src/queue/{recent-owners,flow}.ts by "npm run lua". Change the source, not this file.
--
-- Returns: the functions that the rest of the script calls, by their names in the source.
`,
};

export const LUA_MODULES: readonly LuaModule[] = [BUDGET, QUEUE, OWNERS];

/** The declarations of a module, by name, in the order of the files. */
interface Model {
  readonly types: Map<string, ts.Statement>;
  readonly functions: Map<string, ts.FunctionDeclaration>;
  readonly constants: Map<string, string>;
  /** The file that has a function, without its folder and its ending. */
  readonly files: Map<string, string>;
}

/**
 * Returns the Lua of a module: the functions that the script calls as `Model.name`, and what these
 * call.
 *
 * Redis makes all functions of a script anew in each step. So they are fields of one table, which is
 * then the only variable that they capture, and constants are written where they are used. Those of
 * the `lazy` files are made when the first of them is called.
 */
export function moduleInLua(module: LuaModule): string {
  const model = readModel(module);
  const used = new Set<string>();
  const use = (name: string): void => {
    const declaration = model.functions.get(name);
    if (declaration === undefined || used.has(name)) return;
    used.add(name);
    for (const called of callsIn(declaration)) use(called);
  };
  const roots = calledNames(module);
  for (const name of roots) {
    if (!model.functions.has(name) && !model.constants.has(name)) {
      const { name: owner, sources } = module;
      throw new Error(
        `the script uses ${owner}.${name}, and ${sources.join()} has no such function`,
      );
    }
    use(name);
  }
  const constants = roots.filter((name) => model.constants.has(name));
  const functions = [...model.functions].filter(([name]) => used.has(name));
  const source = [
    ...[...model.types.values()].map((type) => unexported(type)),
    ...constants.map((name) => `export const ${name} = ${model.constants.get(name)};`),
    ...functions.map(([, declaration]) => exported(declaration, model.constants)),
  ];
  const { name, lazy = [], added, header } = module;
  const groups = lazy.map(() => '');
  const fields = fieldsInLua(name, toLua(source.join('\n'))).replaceAll(
    /^(\w+) = function[^]*?^end,\n/gm,
    (lua, called: string) => {
      const file = model.files.get(called) ?? '';
      const group = lazy.findIndex((names) => names.includes(called) || names.includes(file));
      if (group >= 0) groups[group] += lua;
      return group >= 0 ? '' : lua;
    },
  );
  const eager = `${fields}${added?.lua(model) ?? ''}`;
  const made = [eager, ...groups].reduceRight(
    (rest, lua) =>
      rest === '' ? `{\n${lua}}` : `lazily({\n${lua}function()\nreturn ${rest}\nend })`,
    '',
  );
  return `${header}\nlocal ${name}\n${name} = ${made}\nreturn ${name}\n`;
}

/** Makes fields of one table of the assignments to a module's table: Redis then makes it in its full size. */
function fieldsInLua(name: string, lua: string): string {
  return lua
    .replace('local ____exports = {}\n', '')
    .replace('return ____exports\n', '')
    .replaceAll(/^____exports\.(\w+) = (.*)$/gm, '$1 = $2,')
    .replaceAll(/^function ____exports\.(\w+)/gm, '$1 = function')
    .replaceAll(/^end$/gm, 'end,')
    .replaceAll('____exports', name);
}

/** A field of a record, with the fields of the record that it is, if it is one. */
interface Field {
  readonly name: string;
  readonly fields: readonly Field[];
}

/** The fields of a record, in their order. */
function fieldsOf(model: Model, name: string): Field[] {
  const type = model.types.get(name);
  if (type === undefined || !ts.isInterfaceDeclaration(type)) return [];
  return type.members.filter(ts.isPropertySignature).map((member) => ({
    name: member.name.getText(),
    fields: fieldsOf(model, member.type?.getText() ?? ''),
  }));
}

/**
 * The Lua that packs a bucket's values, without the names of their fields, and unpacks them. Their
 * order is that of the source, so a change of the fields needs a higher LAYOUT in begin.lua.
 */
function packing(model: Model): string {
  const paths = packedFields(model);
  const local = (path: string): string => path.replaceAll('.', '_');
  const record = (fields: readonly Field[], path: string): string =>
    fields
      .map(({ name, fields: inner }) => {
        const value =
          inner.length === 0 ? local(path + name) : `{${record(inner, `${path}${name}.`)}}`;
        return `${name} = ${value}`;
      })
      .join(path === '' ? ',\n        ' : ', ');
  return `packBucket = function(bucket)
    return cmsgpack.pack(
        ${paths.map((path) => `bucket.${path}`).join(',\n        ')}
    )
end,
unpackBucket = function(packed)
    local ${paths.map((path) => local(path)).join(',\n        ')} = cmsgpack.unpack(packed)
    return {
        ${record(storedFields(model), '')}
    }
end,
`;
}

/** Slots are stored apart (stored-slots.lua), and each step sets `stated`. */
function storedFields(model: Model): Field[] {
  const fields = fieldsOf(model, 'Bucket').filter(
    ({ name }) => name !== 'slots' && name !== 'stated',
  );
  if (fields.length === 0) throw new Error('there is no record Bucket');
  return fields;
}

/** The fields of a bucket that are packed, in their order; those of its records by their paths. */
export function packedFields(model = readModel(BUDGET)): string[] {
  return storedFields(model).flatMap(({ name, fields }) =>
    fields.length === 0 ? [name] : fields.map((inner) => `${name}.${inner.name}`),
  );
}

/** The paths of the files that a module is made of. */
export function sourcesOf({ sources }: LuaModule): string[] {
  return globSync(sources, { cwd: ROOT }).toSorted();
}

function readModel(module: LuaModule): Model {
  const model: Model = {
    types: new Map(),
    functions: new Map(),
    constants: new Map(),
    files: new Map(),
  };
  for (const path of sourcesOf(module)) readFile(path, model);
  const texts = [...model.functions.values()].map((declaration) => declaration.getText());
  const functions = withInlined(texts).map((each): [string, ts.FunctionDeclaration] => [
    each.name?.text ?? '',
    each,
  ]);
  return { ...model, functions: new Map(functions) };
}

function readFile(path: string, { types, functions, constants, files }: Model): void {
  const text = readFileSync(ROOT + path, 'utf8');
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.ES2024, true);
  for (const statement of file.statements) {
    if (ts.isImportDeclaration(statement)) continue;
    const [name, more] = namesOf(statement);
    if (name === undefined || more !== undefined) {
      throw new Error(`${path}: expected a function, a constant or a type: ${statement.getText()}`);
    }
    if (functions.has(name) || constants.has(name) || types.has(name)) {
      throw new Error(`${path}: ${name} is declared in another file too`);
    }
    files.set(name, basename(path, '.ts'));
    if (ts.isFunctionDeclaration(statement)) functions.set(name, statement);
    else if (ts.isVariableStatement(statement)) constants.set(name, valueOf(statement));
    else types.set(name, statement);
  }
}

/** The text of a function, with the constants' values in place of their names. */
function exported(declaration: ts.FunctionDeclaration, constants: Model['constants']): string {
  const inline = (text: string): string =>
    text.replaceAll(/\b[A-Z][A-Z\d_]+\b/g, (name) => {
      const value = constants.get(name);
      return value === undefined ? name : `(${inline(value)})`;
    });
  return `export ${inline(unexported(declaration))}`;
}

function unexported(statement: ts.Statement): string {
  return statement.getText().replace(/^export /, '');
}

function valueOf(statement: ts.VariableStatement): string {
  return statement.declarationList.declarations[0]?.initializer?.getText() ?? '';
}

function namesOf(statement: ts.Statement): string[] {
  if (ts.isVariableStatement(statement)) {
    return statement.declarationList.declarations.map(({ name }) => name.getText());
  }
  const isNamed =
    ts.isFunctionDeclaration(statement) ||
    ts.isInterfaceDeclaration(statement) ||
    ts.isTypeAliasDeclaration(statement);
  return isNamed && statement.name !== undefined ? [statement.name.text] : [];
}

/** The names of the functions that a function calls. */
function callsIn(node: ts.Node): Set<string> {
  const names = new Set<string>();
  const visit = (child: ts.Node): void => {
    if (ts.isCallExpression(child)) names.add(child.expression.getText());
    ts.forEachChild(child, visit);
  };
  visit(node);
  return names;
}

/** The names that the hand-written parts of the script use of a module. */
function calledNames({ name: owner, added }: LuaModule): string[] {
  const names = new Set<string>();
  const generated = new Set(LUA_MODULES.map(({ output }) => output));
  for (const path of globSync(`${SCRIPT}*.lua`, { cwd: ROOT })) {
    if (generated.has(path)) continue;
    const text = readFileSync(ROOT + path, 'utf8');
    const called = text.matchAll(new RegExp(`\\b${owner}\\.(\\w+)`, 'g'));
    for (const [, name = ''] of called) names.add(name);
  }
  for (const name of added?.names ?? []) names.delete(name);
  return [...names].toSorted();
}

function toLua(source: string): string {
  const { diagnostics, transpiledFiles } = tstl.transpileVirtualProject(
    { 'model.ts': source },
    {
      target: ts.ScriptTarget.ES2024,
      lib: ['lib.es2024.d.ts'],
      types: [],
      strict: true,
      noUncheckedIndexedAccess: true,
      exactOptionalPropertyTypes: true,
      removeComments: true,
      luaTarget: tstl.LuaTarget.Lua51,
      luaLibImport: tstl.LuaLibImportKind.None,
      noImplicitSelf: true,
      noHeader: true,
    },
  );
  const errors = diagnostics.map(({ messageText }) =>
    ts.flattenDiagnosticMessageText(messageText, '\n'),
  );
  if (errors.length > 0) throw new Error(`the model cannot be generated: ${errors.join('\n')}`);
  const lua = transpiledFiles[0]?.lua;
  if (lua === undefined) throw new Error('the model cannot be generated: there is no output');
  return lua;
}
