import ts from 'typescript';

/**
 * Writes short functions, and `Math.max` and `Math.min`, where they are called. Redis makes all functions
 * of a script anew in each step, and a call takes as long as some ten operations.
 *
 * A bucket in Redis has no share, so what a function would do with one is left out.
 */

/** A function that only returns an expression. */
interface Short {
  readonly parameters: readonly ts.BindingName[];
  readonly value: ts.Expression;
  /** Names for fields of parameters: `const { field } = parameter`. */
  readonly fields: ReadonlyMap<string, string>;
}

/** The longest text of an expression that is written where its function is called. */
const MAX_LENGTH = 140;

/** Returns the functions of which these are the texts, with the calls of short ones replaced. */
export function withInlined(texts: readonly string[]): ts.FunctionDeclaration[] {
  const short = new Map<string, Short>();
  const declarations = texts.map(parsed);
  for (const declaration of declarations) {
    const found = shortOf(declaration);
    if (found !== undefined) short.set(declaration.name?.text ?? '', found);
  }
  return declarations.map((declaration) => parsed(rewritten(declaration, short, new Map())));
}

function parsed(text: string): ts.FunctionDeclaration {
  const file = ts.createSourceFile('function.ts', text, ts.ScriptTarget.ES2024, true);
  const [statement] = file.statements;
  if (statement === undefined || !ts.isFunctionDeclaration(statement)) {
    throw new Error(`expected a function: ${text}`);
  }
  return statement;
}

function shortOf({ parameters, body }: ts.FunctionDeclaration): Short | undefined {
  if (body === undefined) return undefined;
  const fields = new Map<string, string>();
  const statements = [...body.statements];
  for (;;) {
    const statement = statements.shift();
    if (statement === undefined) return undefined;
    const value = returned(statement);
    if (value !== undefined) {
      if (value.getText().length > MAX_LENGTH) return undefined;
      return { parameters: parameters.map(({ name }) => name), value, fields };
    }
    if (!ts.isVariableStatement(statement) || !addFields(statement, fields)) return undefined;
  }
}

/** What a statement returns, in a bucket without a share. */
function returned(statement: ts.Statement): ts.Expression | undefined {
  if (ts.isReturnStatement(statement)) return statement.expression;
  if (!ts.isIfStatement(statement) || !isWithoutShare(statement.expression)) return undefined;
  return returned(statement.thenStatement);
}

function addFields(statement: ts.VariableStatement, fields: Map<string, string>): boolean {
  return statement.declarationList.declarations.every(({ name, initializer }) => {
    if (!ts.isObjectBindingPattern(name) || initializer === undefined) return false;
    if (!ts.isIdentifier(initializer)) return false;
    return name.elements.every((element) => {
      if (element.initializer !== undefined || element.propertyName !== undefined) return false;
      fields.set(element.name.getText(), initializer.text);
      return true;
    });
  });
}

function isWithoutShare(condition: ts.Expression): boolean {
  return /^(\w+\.)?share === undefined$/.test(condition.getText());
}

/** The text of a node, with the `names` and the calls of short functions replaced. */
function rewritten(
  node: ts.Node,
  short: ReadonlyMap<string, Short>,
  names: ReadonlyMap<string, string>,
): string {
  const source = node.getSourceFile().text;
  let text = '';
  let at = node.getStart();
  const visit = (child: ts.Node): void => {
    const instead = replacement(child, short, names);
    if (instead === undefined) {
      ts.forEachChild(child, visit);
      return;
    }
    text += source.slice(at, child.getStart()) + instead;
    at = child.getEnd();
  };
  visit(node);
  return text + source.slice(at, node.getEnd());
}

function replacement(
  node: ts.Node,
  short: ReadonlyMap<string, Short>,
  names: ReadonlyMap<string, string>,
): string | undefined {
  if (ts.isConditionalExpression(node) && isWithoutShare(node.condition)) {
    return rewritten(node.whenTrue, short, names);
  }
  if (ts.isIdentifier(node)) {
    const { parent } = node;
    const isField = ts.isPropertyAccessExpression(parent) && parent.name === node;
    return isField ? undefined : names.get(node.text);
  }
  if (!ts.isCallExpression(node)) return undefined;
  if (!ts.isIdentifier(node.expression)) return comparison(node, short, names);
  const called = short.get(node.expression.text);
  if (called === undefined) return undefined;
  const inner = new Map<string, string>();
  for (const [i, parameter] of called.parameters.entries()) {
    const argument = node.arguments[i];
    const text = argument === undefined ? '' : rewritten(argument, short, names);
    // An argument may be written several times, so it must be no more than a name or a number.
    if (!/^[\w.]+$/.test(text)) return undefined;
    if (ts.isIdentifier(parameter)) {
      inner.set(parameter.text, text);
    } else {
      for (const element of parameter.elements) {
        if (!ts.isBindingElement(element) || element.initializer !== undefined) return undefined;
        if (element.propertyName !== undefined) return undefined;
        inner.set(element.name.getText(), `${text}.${element.name.getText()}`);
      }
    }
  }
  for (const [field, parameter] of called.fields) {
    inner.set(field, `${inner.get(parameter) ?? parameter}.${field}`);
  }
  return `(${rewritten(called.value, short, inner)})`;
}

/**
 * `Math.max` or `Math.min` of two terms as a comparison, since a call of Lua's library takes as long as
 * some twenty operations. The terms are written twice, so they must be short and call nothing.
 */
function comparison(
  { expression, arguments: terms }: ts.CallExpression,
  short: ReadonlyMap<string, Short>,
  names: ReadonlyMap<string, string>,
): string | undefined {
  const called = expression.getText();
  const [one, other, more] = terms.map((term) => `(${rewritten(term, short, names)})`);
  if (one === undefined || other === undefined || more !== undefined) return undefined;
  if (/\w\(/.test(one + other) || (one + other).length > MAX_LENGTH) return undefined;
  // Without `>`, which might end what looks like the arguments of a generic function.
  if (called === 'Math.max') return `(${other} < ${one} ? ${one} : ${other})`;
  return called === 'Math.min' ? `(${one} < ${other} ? ${one} : ${other})` : undefined;
}
