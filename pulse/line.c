/* The line that is typed: libedit by its callback interface, fed when stdin has something, so that
 * it never blocks the loop. libedit is one editor for each process, and its callbacks carry no
 * data: hence the one static here. Nothing calls into Lua from within libedit: what happened is
 * noted, and returned by read(). */
#include "line.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include <editline/readline.h>

static struct {
    bool started, prepared, at_end, has_line, tab;
    char *text;
} editor;

static void on_line(char *text)
{
    editor.has_line = text != NULL;
    editor.at_end = text == NULL;
    editor.text = text;
    rl_set_prompt(""); /* libedit shows a prompt at once; the next one comes with start() */
}

static int on_tab(int count, int key)
{
    (void)count, (void)key;
    editor.tab = true;
    return 0;
}

static void prepare(void)
{
    if (editor.prepared) return;
    rl_readline_name = "pulse";
    rl_initialize();
    using_history();
    rl_add_defun("pulse-complete", on_tab, '\t');
    editor.prepared = true;
}

/* start(prompt): shows it, and takes the terminal. */
static int line_start(lua_State *L)
{
    const char *prompt = luaL_checkstring(L, 1);
    prepare();
    rl_callback_handler_install(prompt, on_line);
    editor.started = true;
    return 0;
}

static void stop(void)
{
    if (editor.started) rl_callback_handler_remove();
    editor.started = false;
}

/* stop(): gives the terminal back. */
static int line_stop(lua_State *L)
{
    (void)L;
    stop();
    return 0;
}

static int push_line(lua_State *L)
{
    lua_pushliteral(L, "line");
    lua_pushstring(L, editor.text);
    free(editor.text);
    editor.text = NULL;
    editor.has_line = false;
    return 2;
}

/* read(): takes what was typed. nil, "tab", "end", or "line" and its text; after these two, start()
 * anew. */
static int line_read(lua_State *L)
{
    if (!editor.started) return 0;
    rl_callback_read_char();
    if (editor.tab) {
        editor.tab = false;
        lua_pushliteral(L, "tab");
        return 1;
    }
    if (!editor.has_line && !editor.at_end) return 0;
    stop();
    if (editor.has_line) return push_line(L);
    editor.at_end = false;
    lua_pushliteral(L, "end");
    return 1;
}

/* buffer(): the text, and how many of its bytes stand before the cursor. */
static int line_buffer(lua_State *L)
{
    lua_pushlstring(L, rl_line_buffer ? rl_line_buffer : "", rl_line_buffer ? (size_t)rl_end : 0);
    lua_pushinteger(L, rl_point);
    return 2;
}

/* How many columns the text takes; a byte each when it is not in the locale's encoding. */
static int columns(const char *text, size_t size)
{
    wchar_t wide[1024];
    char copy[1024];
    snprintf(copy, sizeof copy, "%.*s", (int)size, text);
    size_t count = mbstowcs(wide, copy, sizeof wide / sizeof *wide - 1);
    if (count == (size_t)-1) return (int)strlen(copy);
    int width = wcswidth(wide, count);
    return width < 0 ? (int)count : width;
}

/* Wipes what is shown of prompt and line. libedit's own redrawing takes for granted that the cursor
 * stands at the beginning of an empty row. */
static void wipe(void)
{
    int rows = 0, width = 0;
    rl_get_screen_size(&rows, &width);
    int before = columns(rl_prompt, strlen(rl_prompt)) + columns(rl_line_buffer, (size_t)rl_point);
    if (width > 0 && before >= width) printf("\033[%dA", before / width);
    printf("\r\033[J");
    fflush(stdout);
}

/* insert(text): at the cursor. */
static int line_insert(lua_State *L)
{
    const char *text = luaL_checkstring(L, 1);
    if (!editor.started) return 0;
    wipe();
    rl_insert_text(text);
    rl_forced_update_display();
    return 0;
}

/* redisplay(): prompt and line, after something else was written below them. */
static int line_redisplay(lua_State *L)
{
    (void)L;
    if (editor.started) rl_forced_update_display();
    return 0;
}

static int line_add_history(lua_State *L)
{
    const char *text = luaL_checkstring(L, 1);
    prepare();
    add_history(text);
    return 0;
}

/* read_history(file, most) */
static int line_read_history(lua_State *L)
{
    const char *file = luaL_checkstring(L, 1);
    prepare();
    stifle_history((int)luaL_checkinteger(L, 2));
    read_history(file);
    return 0;
}

static int line_write_history(lua_State *L)
{
    write_history(luaL_checkstring(L, 1));
    return 0;
}

int pulse_open_line(lua_State *L)
{
    static const luaL_Reg functions[] = {{"start", line_start}, {"stop", line_stop},
        {"read", line_read}, {"buffer", line_buffer}, {"insert", line_insert},
        {"redisplay", line_redisplay}, {"add_history", line_add_history},
        {"read_history", line_read_history}, {"write_history", line_write_history}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
