import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import * as tstl from 'typescript-to-lua';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
/** The functions and records that are generated. */
const SOURCES = 'src/budget/*.ts';
const SCRIPT = 'src/ledger/shared/script/';
export const OUTPUT = `${SCRIPT}model.lua`;

const HEADER = `-- model: the budget model, as one module.
--
-- Generated from ${SOURCES} by "npm run lua". Change the source, not this file.
--
-- Returns: the functions that the rest of the script calls, by their names in the source; and
--   packBucket and unpackBucket, which store a bucket without its slots.

`;

/** What the generator adds to the functions of the source. */
const PACKING = ['packBucket', 'unpackBucket'];

/** The declarations of the model, by name, in the order of the files. */
interface Model {
  readonly types: Map<string, ts.Statement>;
  readonly functions: Map<string, ts.FunctionDeclaration>;
  readonly constants: Map<string, string>;
}

/**
 * Returns the Lua of the model: the functions that the script calls as `Model.name`, and what these
 * call.
 *
 * Redis makes all functions of a script anew in each step. So they are fields of one table, which is
 * then the only variable that they capture, and constants are written where they are used.
 */
export function modelInLua(): string {
  const model = readModel();
  const used = new Set<string>();
  const use = (name: string): void => {
    const declaration = model.functions.get(name);
    if (declaration === undefined || used.has(name)) return;
    used.add(name);
    for (const mentioned of identifiersIn(declaration)) use(mentioned);
  };
  const roots = calledNames();
  for (const name of roots) {
    if (!model.functions.has(name) && !model.constants.has(name)) {
      throw new Error(`the script uses Model.${name}, and src/budget has no such function`);
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
  return HEADER + asOneTable(toLua(source.join('\n')), packing());
}

/**
 * Makes one table constructor of the assignments to the module's table, because Redis then makes the
 * table in its full size.
 */
function asOneTable(lua: string, more: string): string {
  const fields = lua
    .replace('local ____exports = {}\n', '')
    .replace('return ____exports\n', '')
    .replaceAll(/^____exports\.(\w+) = (.*)$/gm, '$1 = $2,')
    .replaceAll(/^function ____exports\.(\w+)/gm, '$1 = function')
    .replaceAll(/^end$/gm, 'end,')
    .replaceAll('____exports', 'Model');
  return `local Model\nModel = {\n${fields}${more}}\nreturn Model\n`;
}

/** The names of a record's fields, in their order. */
function fieldsOf({ types }: Model, name: string): string[] {
  const type = types.get(name);
  if (type === undefined || !ts.isInterfaceDeclaration(type)) {
    throw new Error(`src/budget has no record ${name}`);
  }
  return type.members.flatMap((member) => member.name?.getText() ?? []);
}

/**
 * The Lua that packs a bucket's fields, without their names, and unpacks them. Their order is that of
 * the source, so a change of the fields needs a higher LAYOUT in begin.lua.
 */
function packing(): string {
  const fields = packedFields();
  return `packBucket = function(bucket)
    return cmsgpack.pack(
        ${fields.map((field) => `bucket.${field}`).join(',\n        ')}
    )
end,
unpackBucket = function(packed)
    local ${fields.join(',\n        ')} = cmsgpack.unpack(packed)
    return {
        ${fields.map((field) => `${field} = ${field}`).join(',\n        ')}
    }
end,
`;
}

/** The fields of a bucket that are packed, in their order. */
export function packedFields(): string[] {
  return fieldsOf(readModel(), 'Bucket').filter((field) => field !== 'slots');
}

function readModel(): Model {
  const model: Model = { types: new Map(), functions: new Map(), constants: new Map() };
  for (const path of globSync(SOURCES, { cwd: ROOT }).toSorted()) readFile(path, model);
  return model;
}

function readFile(path: string, { types, functions, constants }: Model): void {
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

function identifiersIn(node: ts.Node): Set<string> {
  const names = new Set<string>();
  const visit = (child: ts.Node): void => {
    if (ts.isIdentifier(child)) names.add(child.text);
    ts.forEachChild(child, visit);
  };
  visit(node);
  return names;
}

/** The names that the hand-written parts of the script use of the model. */
function calledNames(): string[] {
  const names = new Set<string>();
  for (const path of globSync(`${SCRIPT}*.lua`, { cwd: ROOT })) {
    if (path === OUTPUT) continue;
    const text = readFileSync(ROOT + path, 'utf8');
    for (const [, name = ''] of text.matchAll(/\bModel\.(\w+)/g)) names.add(name);
  }
  for (const name of PACKING) names.delete(name);
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
