import { findTool, howToGet, TOOL_NAMES, type ToolName } from '../../scripts/test-tools.ts';

/**
 * Tests that start a program besides Node carry a tag for it, and are skipped where it is missing.
 * In CI they run, and fail. A file whose tests all need it begins with a comment:
 *
 *   // @module-tag needs-redis-server
 *
 * Other tests name it in their options: `test('…', { tags: needs('jq') }, () => …)`.
 */
export type ToolTag = `needs-${ToolName}`;

/** The tags of a test or suite that needs these tools. */
export function needs(...tools: readonly ToolName[]): ToolTag[] {
  return tools.map((tool): ToolTag => `needs-${tool}`);
}

/** All tags, for Vitest's configuration; global-setup.ts marks those whose tests are skipped. */
export function toolTags(): { name: ToolTag; description: string }[] {
  return TOOL_NAMES.map((tool) => ({ name: `needs-${tool}`, description: `starts ${tool}` }));
}

/** The path of a tool; throws an error that says how to get it when it is not installed. */
export function pathOf(tool: ToolName): string {
  const path = findTool(tool);
  if (path === undefined) throw new Error(`missing ${tool}: ${howToGet(tool)}`);
  return path;
}
