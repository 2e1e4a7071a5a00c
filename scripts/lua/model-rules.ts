import ts from 'typescript';

/** Methods of lists that are the same in Lua and need no library there. */
const METHODS: ReadonlySet<string> = new Set(['push', 'pop', 'shift']);
const FUNCTIONS_OF_MATH: ReadonlySet<string> = new Set(['min', 'max', 'floor', 'ceil', 'abs']);
const OPERATORS: ReadonlySet<ts.SyntaxKind> = new Set([
  ts.SyntaxKind.PlusToken,
  ts.SyntaxKind.MinusToken,
  ts.SyntaxKind.AsteriskToken,
  ts.SyntaxKind.AsteriskAsteriskToken,
  ts.SyntaxKind.SlashToken,
  ts.SyntaxKind.LessThanToken,
  ts.SyntaxKind.LessThanEqualsToken,
  ts.SyntaxKind.GreaterThanToken,
  ts.SyntaxKind.GreaterThanEqualsToken,
  ts.SyntaxKind.EqualsEqualsEqualsToken,
  ts.SyntaxKind.ExclamationEqualsEqualsToken,
  ts.SyntaxKind.AmpersandAmpersandToken,
  ts.SyntaxKind.BarBarToken,
  ts.SyntaxKind.QuestionQuestionToken,
  ts.SyntaxKind.EqualsToken,
  ts.SyntaxKind.PlusEqualsToken,
  ts.SyntaxKind.MinusEqualsToken,
  ts.SyntaxKind.AsteriskEqualsToken,
]);
/** What a file of the model is made of, beside the tokens. */
const KINDS: ReadonlySet<ts.SyntaxKind> = new Set([
  ts.SyntaxKind.FunctionDeclaration,
  ts.SyntaxKind.InterfaceDeclaration,
  ts.SyntaxKind.TypeAliasDeclaration,
  ts.SyntaxKind.ImportDeclaration,
  ts.SyntaxKind.VariableStatement,
  ts.SyntaxKind.VariableDeclarationList,
  ts.SyntaxKind.VariableDeclaration,
  ts.SyntaxKind.Parameter,
  ts.SyntaxKind.TypeParameter,
  ts.SyntaxKind.Block,
  ts.SyntaxKind.IfStatement,
  ts.SyntaxKind.WhileStatement,
  ts.SyntaxKind.ForStatement,
  ts.SyntaxKind.ForOfStatement,
  ts.SyntaxKind.ReturnStatement,
  ts.SyntaxKind.ExpressionStatement,
  ts.SyntaxKind.BinaryExpression,
  ts.SyntaxKind.PrefixUnaryExpression,
  ts.SyntaxKind.PostfixUnaryExpression,
  ts.SyntaxKind.ParenthesizedExpression,
  ts.SyntaxKind.ConditionalExpression,
  ts.SyntaxKind.CallExpression,
  ts.SyntaxKind.PropertyAccessExpression,
  ts.SyntaxKind.ElementAccessExpression,
  ts.SyntaxKind.ObjectLiteralExpression,
  ts.SyntaxKind.ArrayLiteralExpression,
  ts.SyntaxKind.PropertyAssignment,
  ts.SyntaxKind.ShorthandPropertyAssignment,
  ts.SyntaxKind.ObjectBindingPattern,
  ts.SyntaxKind.ArrayBindingPattern,
  ts.SyntaxKind.BindingElement,
  ts.SyntaxKind.TypeOfExpression,
]);

/**
 * Lists what in the model's files is not the same in Lua, or would need a library there:
 *
 * - A file has functions, constants, records and their types, and imports only other such files.
 * - Conditions are booleans, because 0 and '' are true in Lua.
 * - There is no class, closure, exception, spread, template or remainder, and of lists and `Math` only
 *   what Lua has as well. The functions of a record may be called, as methods: Lua passes the record.
 */
export function brokenRules(paths: readonly string[]): string[] {
  const program = ts.createProgram(paths, {
    strict: true,
    noEmit: true,
    allowImportingTsExtensions: true,
    target: ts.ScriptTarget.ES2024,
    module: ts.ModuleKind.NodeNext,
    types: [],
  });
  const checker = program.getTypeChecker();
  return paths.flatMap((path) => {
    const file = program.getSourceFile(path);
    if (file === undefined) return [`${path}: cannot be read`];
    const broken: string[] = [];
    const visit = (node: ts.Node): void => {
      const what = brokenRule(node, checker);
      const { line } = file.getLineAndCharacterOfPosition(node.getStart(file));
      if (what !== undefined) broken.push(`${path}:${line + 1}: ${what}`);
      if (!ts.isTypeNode(node) && !ts.isInterfaceDeclaration(node)) ts.forEachChild(node, visit);
    };
    ts.forEachChild(file, visit);
    return broken;
  });
}

function brokenRule(node: ts.Node, checker: ts.TypeChecker): string | undefined {
  if (ts.isTypeNode(node) || ts.isInterfaceDeclaration(node)) return undefined;
  const isStructure = node.kind > ts.SyntaxKind.LastToken && !ts.isIdentifier(node);
  const isImport = ts.findAncestor(node, ts.isImportDeclaration) !== undefined;
  if (isStructure && !isImport && !KINDS.has(node.kind)) return `has a ${ts.SyntaxKind[node.kind]}`;
  if (ts.isImportDeclaration(node)) {
    const from = node.moduleSpecifier.getText();
    return from.startsWith("'./") ? undefined : `imports ${from}, which is not of the model`;
  }
  if (ts.isBinaryExpression(node) && !OPERATORS.has(node.operatorToken.kind)) {
    return `has the operator ${node.operatorToken.getText()}`;
  }
  if (ts.isCallExpression(node)) return brokenCall(node, checker);
  if (node.kind === ts.SyntaxKind.NullKeyword) return 'has null, which Lua does not';
  if (isLengthOf(node) && isAssigned(node)) return 'sets the length of a list';
  const condition = conditionOf(node);
  return condition === undefined || isBoolean(condition, checker)
    ? undefined
    : `has a condition that is no boolean: ${condition.getText()}`;
}

function brokenCall(
  { expression }: ts.CallExpression,
  checker: ts.TypeChecker,
): string | undefined {
  if (!ts.isPropertyAccessExpression(expression)) return undefined;
  const { name, expression: owner } = expression;
  const declarations = checker.getSymbolAtLocation(name)?.declarations ?? [];
  const isOfRecord = ({ parent }: ts.Declaration): boolean =>
    ts.isInterfaceDeclaration(parent) && !parent.getSourceFile().isDeclarationFile;
  if (declarations.length > 0 && declarations.every(isOfRecord)) return undefined;
  const allowed = owner.getText() === 'Math' ? FUNCTIONS_OF_MATH : METHODS;
  return allowed.has(name.text) ? undefined : `calls ${expression.getText()}`;
}

function isLengthOf(node: ts.Node): boolean {
  return ts.isPropertyAccessExpression(node) && node.name.text === 'length';
}

function isAssigned({ parent }: ts.Node): boolean {
  return ts.isBinaryExpression(parent) && /^[^=!<>]?=$/.test(parent.operatorToken.getText());
}

/** What a node takes as true or false. */
function conditionOf(node: ts.Node): ts.Expression | undefined {
  if (ts.isIfStatement(node) || ts.isWhileStatement(node)) return node.expression;
  if (ts.isConditionalExpression(node) || ts.isForStatement(node)) return node.condition;
  if (ts.isPrefixUnaryExpression(node) && node.operator === ts.SyntaxKind.ExclamationToken) {
    return node.operand;
  }
  const isLogical =
    ts.isBinaryExpression(node) &&
    (node.operatorToken.kind === ts.SyntaxKind.AmpersandAmpersandToken ||
      node.operatorToken.kind === ts.SyntaxKind.BarBarToken);
  return isLogical ? node.left : undefined;
}

function isBoolean(expression: ts.Expression, checker: ts.TypeChecker): boolean {
  const { flags } = checker.getTypeAtLocation(expression);
  return (flags & ts.TypeFlags.BooleanLike) !== 0;
}
